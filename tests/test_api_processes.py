"""An API of several processes, as `freshet api --processes 2` starts it: nobody notices when one of them ends."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from serving.process_group import STOP_SECONDS
from serving.shared_counts import claimed_folder
from stream_workers.models.online.settings import BankSettings
from tests.api_group import NOBODY, PROCESSES, Api, ask, started
from tests.learned_world import Learner
from tests.live import wait_until
from tests.servers import TestServers
from tests.test_serving_world import NOW, CountingStore

BODY = b'{"user_id": "ann", "k": 3}'


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Without Kafka and without Redis."""
    with started(tmp_path_factory.mktemp("processes")) as running:
        wait_until(lambda: len(running.children()) == PROCESSES)
        running.one_to_each()
        yield running


def test_without_kafka_and_redis_every_process_answers(api: Api) -> None:
    for connection in api.one_to_each().values():
        answer = ask(connection, "/v1/users/ann/recommendations")
        assert answer["degraded"]
        state = ask(connection, "/readyz")
        assert state["ready"] is False
        assert state["checks"]["processes"] == f"0 of {PROCESSES} ready"


def counted(text: str, route: str) -> float:
    found = re.search(rf'^freshet_requests_total{{method="GET",route="{route}",status="200"}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_metrics_count_what_all_have_done_and_never_fall(api: Api) -> None:
    both = api.one_to_each()
    before = counted(api.text("/metrics"), "/healthz")
    for number, connection in enumerate(both.values()):
        for _ in range(3 + number):
            ask(connection, "/healthz")
    for connection in both.values():
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        assert counted(text, "/healthz") == before + 7
        assert text.count("\nfreshet_store_up ") == 1
        assert text.count("# TYPE freshet_request_seconds histogram") == 1


def test_a_process_that_is_killed_is_replaced_and_no_other_connection_is_harmed(api: Api) -> None:
    both = api.one_to_each()
    victim, other = both
    before = counted(api.text("/metrics"), "/healthz")
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    asked = 0
    while victim in {child.pid for child in api.children()} or len(api.children()) < PROCESSES:
        assert ask(both[other], "/healthz") == {"status": "alive"}
        asked += 1
        assert time.monotonic() - killed < 5
    assert ask(both[other], "/healthz") == {"status": "alive"}
    newcomers = api.one_to_each()
    assert victim not in newcomers
    assert other in newcomers
    assert counted(api.text("/metrics"), "/healthz") >= before + asked + 1


def half_sent(api: Api, count: int) -> list[socket.socket]:
    """Requests whose second half is still to come."""
    found = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", api.port), timeout=10)
        head = (
            f"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        connection.sendall(head.encode() + BODY[:10])
        found.append(connection)
    time.sleep(0.2)
    return found


@pytest.mark.parametrize("processes", [1, PROCESSES])
def test_sigterm_answers_what_was_begun_and_ends_with_0(tmp_path: Path, processes: int) -> None:
    with started(tmp_path, api_processes=processes) as api:
        if processes > 1:
            api.one_to_each()
        kept = [api.connect() for _ in range(8)]
        assert all(ask(connection, "/healthz") for connection in kept)
        unfinished, failures, stop = half_sent(api, 20), list[str](), threading.Event()
        callers = [threading.Thread(target=call_until, args=(api, stop, failures)) for _ in range(4)]
        for caller in callers:
            caller.start()
        time.sleep(0.3)
        told = time.monotonic()
        api.parent.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        for connection in kept:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        for connection in unfinished:
            connection.sendall(BODY[10:])
        answers = [connection.recv(1 << 16) for connection in unfinished]
        assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * 20
        assert api.parent.wait(STOP_SECONDS) == 0
        assert time.monotonic() - told < 4, "nothing waits for what does not come"
        stop.set()
        for caller in callers:
            caller.join()
        assert failures == []


def call_until(api: Api, stop: threading.Event, failures: list[str]) -> None:
    """One request after the other, each on a connection of its own; what was taken in must be answered."""
    while not stop.is_set():
        try:
            connection = api.connect()
        except ConnectionRefusedError:
            return
        try:
            connection.request("GET", "/v1/users/ann/recommendations", headers={"Connection": "close"})
            if connection.getresponse().status != 200:
                failures.append("status")
        except OSError as error:
            failures.append(repr(error))


def test_a_killed_parent_leaves_nothing_that_the_next_start_minds(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        children = first.children()
        first.parent.kill()
        first.parent.wait()
        _, alive = psutil.wait_procs(children, timeout=8)
        assert alive == []
    left = [folder for folder in Path(tempfile.gettempdir()).glob("freshet-api-*") if is_free(folder)]
    assert left, "what it counted in"
    with started(tmp_path, port=first.port) as second:
        assert second.answers()
        assert not any(folder.exists() for folder in left)


def is_free(folder: Path) -> bool:
    with (folder / "lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_folder_that_is_held_is_left_alone() -> None:
    mine = claimed_folder()
    try:
        assert claimed_folder() != mine
        assert mine.exists()
    finally:
        for folder in Path(tempfile.gettempdir()).glob("freshet-api-*"):
            if folder == mine:
                (folder / "lock").unlink()
                folder.rmdir()


def test_wrong_settings_end_it_at_once(tmp_path: Path) -> None:
    surfaces = tmp_path / "surfaces.yaml"
    surfaces.write_text("surfaces: [wrong")
    environment = os.environ | {"FRESHET_HOME": str(tmp_path), "FRESHET_SURFACES": str(surfaces), **NOBODY}
    command = [sys.executable, "-m", "ops.cli", "api", "--processes", "2", "--port", "0"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "surfaces.yaml" in ended.stderr


@pytest.mark.integration
def test_a_commit_is_seen_in_every_process_also_by_a_new_follower(stack_servers: TestServers, tmp_path: Path) -> None:
    client, store = redis.Redis.from_url(stack_servers.redis), CountingStore()
    learner = Learner(store, BankSettings(), epoch=int(time.time() * 1000))

    def commit(user: str, at: int) -> int:
        learner.learn([user], ["h1"], [NOW + at])
        learner.commit(NOW + at)
        client.mset(dict(store.blobs))
        return learner.bank.learnt

    def shown_by_all(learnt: int) -> Callable[[], bool]:
        return lambda: all((ask(c, "/v1/models")["online"] or {}).get("events") == learnt for c in both.values())

    learner.two_tastes(NOW)
    learnt = commit("ann", 1)
    with started(tmp_path, redis=stack_servers.redis) as api:
        wait_until(lambda: len(api.children()) == PROCESSES)
        both = api.one_to_each()
        wait_until(shown_by_all(learnt), 30, "the first version in all processes")
        wait_until(shown_by_all(commit("bob", 2)), 5, "the next version in all processes")
        (follower,) = api.children("freshet-models")
        follower.kill()
        assert ask(next(iter(both.values())), "/v1/users/ann/recommendations")["models"]["nearline"]
        wait_until(shown_by_all(commit("cleo", 3)), 15, "what a new follower wrote")
        os.kill(next(iter(both)), signal.SIGKILL)
        both = wait_until(lambda: len(api.children()) == PROCESSES and api.one_to_each())
        wait_until(shown_by_all(learner.bank.learnt), 5, "the version in the new process")
        assert "freshet_models_taken_seconds_count" in api.text("/metrics")
