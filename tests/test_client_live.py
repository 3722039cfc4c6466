"""The event buffers on the real API: it is killed, frozen and limited while events come, and every event is counted once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from freshet_client import (
    AsyncClient,
    BufferOptions,
    Client,
    Event,
    InvalidRequest,
    LoggedRequest,
    NotAllowed,
    NotFound,
    Recommendations,
    Rejection,
    Retry,
)
from schemas.events import TYPE_CODES
from tests.live import Live, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[1]
QUICK = Retry(base=0.05, cap=0.3)
EVENTS = 4000
ITEMS = 8


class Api:
    """One API on a port of its own that can be killed, frozen and started again."""

    def __init__(self, live: Live, **settings: object) -> None:
        self._live = live
        self._settings = settings
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        self._process = self._live.spawn("api", api_port=self._port, **self._settings)
        wait_until(self._answers, 60, "the API to answer")

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._live.log_of(self._process)
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        self._live.stop(self._process, kill=True)

    def freeze(self, seconds: float) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self._process.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def api(live: Live) -> Iterator[Api]:
    live.worker()
    yield Api(live)


def disturb(api: Api) -> None:
    """Kill the API twice, once for a while; freeze it for longer than clients wait."""
    time.sleep(0.2)
    api.kill()
    api.start()
    api.freeze(1.2)
    api.kill()
    time.sleep(0.5)
    api.start()


def expect_once(live: Live, api: Api, name: str, events: int) -> None:
    """Each item has its share of the events, in the store and in the API's pages."""
    live.settle()
    with Client(api.url) as client:
        for n in range(ITEMS):
            item = live.item(f"{name}-{n}")
            assert item is not None
            assert item.counts[TYPE_CODES["view"]] == events // ITEMS
            page = client.item(f"{name}-{n}")
            assert page.counts is not None
            assert page.counts["view"] == events // ITEMS


def test_a_thread_counts_each_event_once_while_the_api_is_killed(live: Live, api: Api) -> None:
    reports: list[Rejection] = []
    options = BufferOptions(linger=0.01, batch=50, retry=QUICK)
    with Client(api.url, timeout=0.5) as client, client.events.buffer(options, reports.append) as buffer:
        trouble = threading.Thread(target=disturb, args=(api,))
        trouble.start()
        for n in range(EVENTS):
            buffer.view(f"u{n % 50}", f"thread-{n % ITEMS}")
            time.sleep(0.001)
        trouble.join()
        assert buffer.flush(60)
        assert buffer.counts == (EVENTS, 0, 0)
    assert reports == []
    expect_once(live, api, "thread", EVENTS)


def test_a_task_counts_each_event_once_while_the_api_is_killed(live: Live, api: Api) -> None:
    async def run() -> None:
        options = BufferOptions(linger=0.01, batch=50, retry=QUICK)
        async with AsyncClient(api.url, timeout=0.5) as client, client.events.buffer(options) as buffer:
            trouble = asyncio.create_task(asyncio.to_thread(disturb, api))
            for n in range(EVENTS):
                buffer.view(f"u{n % 50}", f"task-{n % ITEMS}")
                await asyncio.sleep(0.001)
            await trouble
            assert await buffer.flush(60)
            assert buffer.counts == (EVENTS, 0, 0)

    asyncio.run(run())
    expect_once(live, api, "task", EVENTS)


PROGRAM = """
import sys, time
from freshet_client import BufferOptions, Client, Retry
url, spool, first, last = sys.argv[1:]
client = Client(url, timeout=0.5)
buffer = client.events.buffer(BufferOptions(linger=0.01, batch=50, spool=spool, retry=Retry(base=0.05, cap=0.3)))
for n in range(int(first), int(last)):
    buffer.view(f"u{n % 50}", f"spool-{n % 8}")
    time.sleep(0.001)
print("added", flush=True)
time.sleep(60)
"""


def test_a_killed_program_and_a_killed_api_lose_nothing(live: Live, api: Api, tmp_path: Path) -> None:
    spool = tmp_path / "spool.jsonl"
    for first in range(0, 1600, 400):
        arguments = [api.url, str(spool), str(first), str(first + 400)]
        running = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, stdout=subprocess.PIPE)
        if first == 400:
            api.kill()
        if first == 800:
            api.start()
        assert running.stdout is not None
        assert running.stdout.readline() == b"added\n"
        running.kill()
        running.wait()
    with Client(api.url) as client, client.events.buffer(BufferOptions(spool=spool)) as buffer:
        assert buffer.flush(30)
    assert spool.stat().st_size == 0
    expect_once(live, api, "spool", 1600)


def test_what_the_api_rejects_is_reported_and_the_rest_counted(live: Live, api: Api) -> None:
    reports: list[Rejection] = []
    with Client(api.url) as client, client.events.buffer(BufferOptions(), reports.append) as buffer:
        buffer.click("whole", "rejected-1")
        buffer.click("", "rejected-1", event_id="no user")
        buffer.view("whole", "rejected-1", context={"x": "y" * 70_000}, event_id="large")
        buffer.click("whole", "rejected-1", timestamp=int(time.time() * 1000) + 600_000, event_id="tomorrow")
        assert buffer.flush()
    assert {(one.event["event_id"], one.reason) for one in reports} == {
        ("no user", "invalid"), ("large", "too_large"), ("tomorrow", "timestamp_in_future"),
    }  # fmt: skip
    live.settle()
    item = live.item("rejected-1")
    assert item is not None
    assert item.counts[TYPE_CODES["click"]] == 1


def test_keys_and_limits_of_the_real_api(live: Live, api: Api) -> None:
    keys = "writer-key-0123456789=events:write;reader-key-0123456789=recommend:read"
    limited = Api(live, api_keys=keys, rate_limit=5, rate_burst=3)
    with Client(limited.url, key="wrong-key-0123456789") as client, pytest.raises(NotAllowed) as raised:
        client.popular()
    assert raised.value.status == 401
    with Client(limited.url, key="writer-key-0123456789") as client:
        with pytest.raises(NotAllowed) as raised:
            client.recommendations("u1")
        assert raised.value.status == 403
        started = time.monotonic()
        for n in range(8):
            assert client.events.view("limited", f"limited-{n}").accepted == 1
        assert time.monotonic() - started > 0.5, "429 came, and was waited for"
    with Client(limited.url, key="reader-key-0123456789") as client:
        assert client.recommendations("u1", k=2).user_id == "u1"
        with pytest.raises(InvalidRequest):
            client.recommendations("u1", k=0)
    live.settle()
    user = live.user("limited")
    assert user is not None
    assert user.counts[TYPE_CODES["view"]] == 8


def test_explanations_groups_and_forgetting(live: Live, api: Api) -> None:
    with Client(api.url) as client:
        client.events.send([Event("click", f"crowd-{n % 5}", f"film-{n % 7}") for n in range(35)])
        client.events.send([Event("click", "explained", f"film-{n}") for n in range(2)])
        live.settle()
        shown = wait_until(lambda: _list_of(client, "explained"), 20, "items to recommend")
        logged = wait_until(lambda: _found(client, shown.request_id), 20, "the decision to be logged")
        assert (logged.user_id, [item.item_id for item in logged.items]) == ("explained", shown.item_ids)
        assert {entry.item_id for entry in logged.history} == {"film-0", "film-1"}
        there, seen = client.why(shown.request_id, shown.item_ids[0]), client.why(shown.request_id, "film-0")
        assert (there.shown, there.rank, there.verdict) == (True, 1, "shown")
        assert (seen.shown, seen.verdict) == (False, "seen")
        group = client.group_recommendations(["explained", "crowd-1"], k=2)
        assert [member.known for member in group.members] == [True, True]
        assert client.onboarding(k=2).basis
        assert client.forget("explained").user_id == "explained"
        wait_until(lambda: client.user("explained").history == (), 60, "the user to be forgotten")


def _list_of(client: Client, user_id: str) -> Recommendations | None:
    shown = client.recommendations(user_id, k=3)
    return shown if shown.items else None


def _found(client: Client, request_id: str) -> LoggedRequest | None:
    try:
        return client.request(request_id)
    except NotFound:
        return None


def test_an_event_twice_in_two_requests_counts_once(live: Live, api: Api) -> None:
    event = Event("purchase", "twice", "twice-1", value=9.5)
    with Client(api.url) as client:
        assert client.events.send([event, event]).accepted == 2
        assert client.events.send([event]).accepted == 1
        live.settle()
        page = client.user("twice")
        assert page.counts is not None
        assert page.counts["purchase"] == 1
        client.events.purchase("twice", "twice-1", undo=True)
        live.settle()
        assert client.user("twice").history == ()
