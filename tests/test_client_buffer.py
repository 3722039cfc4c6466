"""The event buffers, with a thread and with a task: nothing lost, nothing taken twice, whatever the server or the program does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freshet_client import AsyncClient, BufferClosed, BufferOptions, Client, Event, Rejection, Retry
from tests.client_world import Reply, ScriptedServer, scripted
from tests.live import wait_until

ROOT = Path(__file__).resolve().parents[1]
QUICK = BufferOptions(linger=0.01, retry=Retry(base=0.02, cap=0.1))
PROBLEM = b'{"type": "about:blank", "title": "x", "status": 0, "detail": "as the test says"}'


def with_thread(url: str, names: list[str], options: BufferOptions = QUICK, pause: float = 0.0) -> list[Rejection]:
    """Send events through the buffer with a thread; what was reported."""
    reports: list[Rejection] = []
    with Client(url, timeout=1.5) as client, client.events.buffer(options, reports.append) as buffer:
        for name in names:
            buffer.view("1", "a", event_id=name)
            time.sleep(pause)
        assert buffer.flush(20)
        assert buffer.counts == (len(names) - len(reports), len(reports), 0)
    return reports


def with_task(url: str, names: list[str], options: BufferOptions = QUICK, pause: float = 0.0) -> list[Rejection]:
    """The same through the one with a task."""
    reports: list[Rejection] = []

    async def run() -> None:
        async with AsyncClient(url, timeout=1.5) as client, client.events.buffer(options, reports.append) as buffer:
            for name in names:
                buffer.view("1", "a", event_id=name)
                await asyncio.sleep(pause)
            assert await buffer.flush(20)
            assert buffer.counts == (len(names) - len(reports), len(reports), 0)

    asyncio.run(run())
    return reports


Sends = Callable[..., list[Rejection]]
both = pytest.mark.parametrize("send", [with_thread, with_task])
NAMES = [f"e{n}" for n in range(50)]


@both
def test_events_arrive_once_in_order_in_few_requests(send: Sends) -> None:
    with scripted() as server:
        assert send(server.url, [f"e{n}" for n in range(2500)]) == []
        assert [event["event_id"] for batch in server.batches for event in batch] == [f"e{n}" for n in range(2500)]
        assert set(server.arrived.values()) == {1}
        assert len(server.batches) < 30


@both
@pytest.mark.parametrize(
    "reply",
    [
        Reply(429, PROBLEM, {"retry-after": "1"}), Reply(503, PROBLEM), Reply(500, b"<html>"), Reply(401, PROBLEM),
        Reply(202, b"<html>", taken=False), Reply(202, b"{}", taken=False), Reply(202, b'{"accepted": 1}', taken=False),
        Reply(202, b'{"accepted": "all"}', taken=False), Reply(301, b"", {"location": "/"}), Reply(hang_up=True, taken=False),
        Reply(seconds=2.0, taken=False),
    ],
    ids=lambda reply: f"{reply.status} {(reply.body or b'').decode()[:9]}{' slow' * bool(reply.seconds)}",
)  # fmt: skip
def test_whatever_is_answered_the_events_arrive_once(send: Sends, reply: Reply) -> None:
    with scripted(reply) as server:
        assert send(server.url, NAMES) == []
        assert server.arrived == dict.fromkeys(NAMES, 1)
        if "retry-after" in reply.headers:
            assert server.times[1] - server.times[0] >= 1.0


@both
def test_events_whose_answer_was_lost_come_again_with_the_same_ids(send: Sends) -> None:
    with scripted(Reply(hang_up=True), Reply(seconds=2.0)) as server:
        assert send(server.url, NAMES) == []
        assert server.arrived.keys() == set(NAMES)
        assert max(server.arrived.values()) > 1, "the server counts by event_id"


@both
def test_rejected_events_are_reported_and_not_sent_again(send: Sends) -> None:
    with scripted(*[Reply(reject=("e3", "e7"))] * 50) as server:
        reports = send(server.url, NAMES)
        assert [(one.event["event_id"], one.reason, one.detail) for one in reports] == [
            ("e3", "invalid", "as the test says"),
            ("e7", "invalid", "as the test says"),
        ]
        sent = [event["event_id"] for batch in server.batches for event in batch]
        assert sorted(sent) == sorted(NAMES)


@both
def test_a_request_that_is_refused_as_a_whole_is_halved(send: Sends) -> None:
    with scripted(Reply(413, PROBLEM)) as server:
        assert send(server.url, NAMES, BufferOptions(linger=0.2)) == []
        sizes = [len(batch) for batch in server.batches]
        assert sizes == [50, 25, 25]


@both
def test_an_outage_longer_than_the_buffer_drops_the_oldest(send: Sends) -> None:
    options = BufferOptions(linger=0.01, capacity=20, retry=Retry(base=0.02, cap=0.1))
    with scripted(*[Reply(503, PROBLEM)] * 8) as server:
        reports = send(server.url, NAMES, options, pause=0.002)
        assert {one.reason for one in reports} == {"buffer_full"}
        dropped = {one.event["event_id"] for one in reports}
        assert len(dropped) == len(reports) > 10
        assert server.arrived == dict.fromkeys(set(NAMES) - dropped, 1)


def test_a_report_that_fails_harms_no_event(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Rejection) -> None:
        raise RuntimeError("in the user's code")

    with scripted(Reply(reject=("e0",))) as server, Client(server.url) as client:
        buffer = client.events.buffer(QUICK, broken)
        for name in NAMES:
            buffer.take(Event("view", "1", "a", event_id=name))
        assert buffer.flush()
        assert len(server.arrived) == 49
    assert "in the user's code" in caplog.text


def test_a_report_may_add_events() -> None:
    with scripted(Reply(reject=("e0",))) as server, Client(server.url) as client:
        buffer = client.events.buffer(QUICK, lambda one: buffer.view("1", "a", event_id="instead") and None)
        buffer.view("1", "a", event_id="e0")
        assert wait_until(lambda: "instead" in server.arrived, 10)


def test_events_of_many_threads_all_arrive() -> None:
    with scripted() as server, Client(server.url) as client:
        buffer = client.events.buffer(QUICK)
        threads = [
            threading.Thread(target=lambda t=t: [buffer.view("1", "a", event_id=f"{t}-{n}") for n in range(500)]) for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert buffer.flush(30)
        assert len(server.arrived) == 4000
        assert set(server.arrived.values()) == {1}


def test_adding_waits_for_no_server() -> None:
    with scripted(Reply(seconds=2.5)) as server, Client(server.url) as client:
        buffer = client.events.buffer(QUICK)
        started = time.monotonic()
        for name in NAMES:
            buffer.view("1", "a", event_id=name)
        assert time.monotonic() - started < 1.5
        assert not buffer.flush(0.1)
        assert buffer.flush(10)


@both
def test_a_closed_buffer_takes_nothing(send: Sends) -> None:
    async def run() -> None:
        async with AsyncClient("http://127.0.0.1:1") as client:
            buffer = client.events.buffer(QUICK)
            await buffer.close()
            buffer.view("1", "a")

    with pytest.raises(BufferClosed):
        if send is with_task:
            asyncio.run(run())
        with Client("http://127.0.0.1:1") as client:
            buffer = client.events.buffer(QUICK)
            buffer.close()
            buffer.view("1", "a")


def test_without_a_spool_the_rest_is_reported_at_the_end() -> None:
    reports: list[Rejection] = []
    with Client("http://127.0.0.1:1") as client:
        buffer = client.events.buffer(QUICK, reports.append)
        buffer.view("1", "a", event_id="e")
        assert not buffer.close(0.05)
        wait_until(lambda: [one.reason for one in reports] == ["unsent"], 5)


# --- the program ends

PROGRAM = """
import asyncio, os, sys, time
from freshet_client import AsyncClient, BufferOptions, Client, Retry
kind, url, spool, first, last, end = sys.argv[1:]
options = BufferOptions(linger=0.01, spool=spool or None, retry=Retry(base=0.02, cap=0.1), close_seconds=3.0)

def add(buffer):
    for n in range(int(first), int(last)):
        buffer.view("1", "a", event_id=f"e{n}")
    print("added", flush=True)

async def main():
    buffer = AsyncClient(url).events.buffer(options)
    add(buffer)
    await asyncio.sleep(60 if end == "wait" else 0)

if kind == "task":
    asyncio.run(main())
else:
    add(Client(url).events.buffer(options))
    time.sleep(60 if end == "wait" else 0)
"""
kinds = pytest.mark.parametrize("kind", ["thread", "task"])


def program(kind: str, server: ScriptedServer, spool: Path | str, first: int, last: int, end: str) -> subprocess.Popen[bytes]:
    """Another Python that adds events and then ends, or waits to be killed."""
    arguments = [kind, server.url, str(spool), str(first), str(last), end]
    started: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"added\n"
    return started


@kinds
def test_at_the_end_of_the_program_the_rest_is_sent(kind: str) -> None:
    with scripted(Reply(503, PROBLEM)) as server:
        assert program(kind, server, "", 0, 500, "exit").wait(20) == 0
        assert server.arrived == {f"e{n}": 1 for n in range(500)}


@kinds
def test_a_killed_program_loses_nothing_that_it_had_added(kind: str, tmp_path: Path) -> None:
    spool = tmp_path / "events" / "spool.jsonl"
    away = [Reply(503, PROBLEM)] * 10_000
    with scripted(Reply(), Reply(hang_up=True), *away) as server:
        for first in (0, 300, 600):
            running = program(kind, server, spool, first, first + 300, "wait")
            time.sleep(0.1)
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
        server.script.clear()
        assert program(kind, server, spool, 900, 901, "exit").wait(20) == 0
        assert server.arrived.keys() == {f"e{n}" for n in range(901)}
        assert program(kind, server, spool, 901, 902, "exit").wait(20) == 0
        assert [event["event_id"] for event in server.batches[-1]] == ["e901"], "what was taken is not sent again"
    assert spool.stat().st_size == 0


def test_a_client_closes_its_buffers() -> None:
    with scripted() as server:
        with Client(server.url) as client:
            client.events.buffer(BufferOptions(linger=60)).view("1", "a", event_id="e")
        assert server.arrived == {"e": 1}


async def test_the_loop_goes_on_while_events_are_sent() -> None:
    with scripted(Reply(seconds=0.4)) as server:
        async with AsyncClient(server.url) as client:
            buffer = client.events.buffer(QUICK)
            buffer.view("1", "a")
            ticks: list[Any] = []
            flushed = asyncio.create_task(buffer.flush())
            while not flushed.done():
                ticks.append(await asyncio.sleep(0.01))
            assert await flushed
    assert len(ticks) > 15
