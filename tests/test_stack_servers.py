"""The local stack with real servers: side by side, restarted, killed, cleared up; workers and API are small stand-ins."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ops import stack
from ops.stack.lifecycle import bring_up
from ops.stack.processes import wait_until
from ops.stack.state import PARTS, Desired, Folder, PartState, State
from schemas.errors import StackError
from schemas.settings import Settings
from tests.stack_world import own_home

pytestmark = pytest.mark.integration
SERVERS = frozenset({"kafka", "redis"})
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
    with own_home(tmp_path, monkeypatch) as given:
        yield given


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


def test_two_calls_at_once_start_one_stack(native: Settings) -> None:
    found: list[stack.Stack] = []
    thread = threading.Thread(target=lambda: found.append(stack.up(native, only=frozenset({"redis"}))))
    thread.start()
    found.append(stack.up(native, only=frozenset({"redis"})))
    thread.join()
    assert found[0] == found[1]
    assert found[0].kafka == ""
    assert pings(found[0].redis)  # the thread that started it is gone, the stack is not


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


def test_external_servers_are_used_and_left_alone(native: Settings) -> None:
    own = stack.up(native, "own", only=SERVERS)
    given = native.model_copy(update={"kafka": own.kafka, "redis": own.redis})
    found = bring_up(given, "ext", Desired(PARTS, 1), print, STAND_INS)
    assert (found.mode, found.kafka, found.redis) == ("external", own.kafka, own.redis)
    assert [part.kind for part in state_of(given, "ext").parts] == ["worker", "api"]
    stack.down(given, "ext")
    assert pings(own.redis)


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
