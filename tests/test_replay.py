"""Replaying into a real Kafka: everything arrives once, in order, where it belongs; what does not is said."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition

from ops.replay import parse_speed, replay
from ops.sources import JsonObject, RowFaults, SourceEvent
from schemas.errors import InvalidInput, KafkaUnavailable
from schemas.ids import partition_of
from schemas.settings import Settings
from tests.live import high_water, wait_until

ROOT = Path(__file__).parents[1]
START_MS = 1_362_062_307_000
TOPICS = ("views", "clicks", "feedback", "items", "users")


class Record(NamedTuple):
    """What came out of Kafka."""

    topic: str
    partition: int
    key: str
    value: Any
    appended_ms: int


class Made:
    """A source with given events, whose users and items belong to this test alone."""

    title = "made for a test"
    licence = "none"

    def __init__(self, count: int, gap_ms: int = 1000, padding: int = 0) -> None:
        self.tag = uuid.uuid4().hex[:8]
        self.count = count
        self.faults = RowFaults()
        self._gap_ms = gap_ms
        self._padding = padding

    def events(self) -> Iterator[SourceEvent]:
        for number in range(self.count):
            user, at = f"{self.tag}-é{number % 7}", START_MS + number * self._gap_ms
            padding = "x" * self._padding if number == self.count - 1 else ""
            value = {"event_id": f"{self.tag}-{number}", "user_id": user, "item_id": "i", "timestamp": at}
            yield SourceEvent("clicks", user, {**value, "context": {"padding": padding}}, at)

    def items(self) -> Iterator[JsonObject]:
        return iter([{"item_id": f"{self.tag}-i{n}", "created_at": START_MS} for n in range(3)])

    def users(self) -> Iterator[JsonObject]:
        return iter([{"user_id": f"{self.tag}-u"}])


class Log:
    """Reads what arrived since the test began."""

    def __init__(self, servers: str) -> None:
        config = {"bootstrap.servers": servers, "group.id": "test-replay", "enable.auto.commit": False, "fetch.wait.max.ms": 20}
        self._consumer = Consumer(config)
        self._begin = {(part.topic, part.partition): self._end(part) for part in self._parts()}
        self.partitions = 1 + max((number for _, number in self._begin), default=Settings().partitions - 1)

    def read(self, tag: str) -> list[Record]:
        """Records whose key begins with this tag, each partition's in its order."""
        parts = [TopicPartition(p.topic, p.partition, self._begin.get((p.topic, p.partition), 0)) for p in self._parts()]
        left = {(part.topic, part.partition): self._end(part) - part.offset for part in parts}
        self._consumer.assign(parts)
        records = []
        for _ in range(sum(left.values())):
            message = self._consumer.poll(10)
            assert message is not None
            assert message.error() is None
            value, at = orjson.loads(message.value()), message.timestamp()[1]
            records.append(Record(message.topic(), message.partition(), message.key().decode(), value, at))
        return [record for record in records if record.key.startswith(tag)]

    def _parts(self) -> list[TopicPartition]:
        known = self._consumer.list_topics(timeout=10).topics
        return [TopicPartition(name, number) for name in TOPICS if name in known for number in known[name].partitions]

    def _end(self, part: TopicPartition) -> int:
        place = (part.topic, part.partition)
        end: int = wait_until(lambda: high_water(self._consumer, place), what=f"a leader of {place}")[1]
        return end

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def log(stack_servers: Any) -> Iterator[Log]:
    log = Log(stack_servers.kafka)
    yield log
    log.close()


@pytest.fixture
def settings(stack_servers: Any, log: Log) -> Settings:
    return Settings(kafka=stack_servers.kafka, redis=stack_servers.redis, partitions=log.partitions)


def _silent(_: str) -> None:
    pass


@pytest.mark.integration
def test_every_event_arrives_once_in_order_on_its_users_partition(settings: Settings, log: Log) -> None:
    source = Made(3000)
    report = replay(settings, source, math.inf, None, True, False, _silent)
    clicks = log.read(source.tag)
    assert (report.events, report.items) == (len(clicks), 0) == (3000, 0)
    assert all(record.partition == partition_of(record.key, settings.partitions) for record in clicks)
    by_user: dict[str, list[Any]] = {}
    for record in clicks:
        by_user.setdefault(record.key, []).append(record.value)
    expected: dict[str, list[Any]] = {}
    for event in source.events():
        expected.setdefault(event.key, []).append(event.value)
    assert by_user == expected


@pytest.mark.integration
def test_the_catalogue_comes_first(settings: Settings, log: Log) -> None:
    source = Made(5)
    report = replay(settings, source, math.inf, None, False, False, _silent)
    records = log.read(source.tag)
    catalogue = [record for record in records if record.topic in {"items", "users"}]
    clicks = [record for record in records if record.topic == "clicks"]
    assert (report.items, len(catalogue), len(clicks)) == (3, 4, 5)
    assert max(record.appended_ms for record in catalogue) <= min(record.appended_ms for record in clicks)
    assert all(record.partition == partition_of(record.key, settings.partitions) for record in records)


@pytest.mark.integration
def test_from_and_limit_choose_a_part(settings: Settings, log: Log) -> None:
    source = Made(100)
    said: list[str] = []
    report = replay(settings, source, math.inf, 20, True, False, said.append, start=90)
    assert report.events == 10
    assert sorted(int(r.value["event_id"].split("-")[-1]) for r in log.read(source.tag)) == list(range(90, 100))
    assert any("10 from number 90" in line for line in said)
    assert any("licence" in line for line in said)


@pytest.mark.integration
def test_times_are_shifted_so_that_the_last_selected_event_is_now(settings: Settings, log: Log) -> None:
    source = Made(10, gap_ms=1000)
    replay(settings, source, math.inf, 5, False, True, _silent)
    now_ms = time.time() * 1000
    records = log.read(source.tag)
    times = sorted(record.value["timestamp"] for record in records if record.topic == "clicks")
    assert [after - before for before, after in pairwise(times)] == [1000] * 4
    assert now_ms - 30_000 < times[-1] <= now_ms
    created = {record.value["created_at"] for record in records if record.topic == "items"}
    assert created == {times[0]}


@pytest.mark.integration
def test_pace_follows_event_time(settings: Settings, log: Log) -> None:
    ticks: list[tuple[int, int]] = []
    source = Made(5, gap_ms=1000)
    report = replay(settings, source, 4.0, None, True, False, _silent, tick=lambda done, total: ticks.append((done, total)))
    assert 1.0 <= report.seconds < 3.0
    assert ticks[-1] == (5, 5)
    assert len(log.read(source.tag)) == 5


@pytest.mark.integration
def test_a_record_that_kafka_refuses_is_an_error_with_its_number(settings: Settings) -> None:
    with pytest.raises(KafkaUnavailable, match=r"1 records, the first of them number 29: .*--from 29"):
        replay(settings, Made(30, padding=2_000_000), math.inf, None, True, False, _silent)


@pytest.mark.integration
def test_after_ctrl_c_it_goes_on_where_it_stopped(settings: Settings, log: Log, tmp_path: Path) -> None:
    tag = uuid.uuid4().hex[:8]
    file = tmp_path / "log.csv"
    rows = "".join(f"{tag}-{n % 5},i,{START_MS + n * 100},{tag}-{n}\n" for n in range(400))
    file.write_text("user,item,timestamp,event_id\n" + rows)
    variables = {
        "FRESHET_KAFKA": str(settings.kafka),
        "FRESHET_REDIS": str(settings.redis),
        "FRESHET_PARTITIONS": str(settings.partitions),
    }
    command = [sys.executable, "-m", "ops.cli", "replay", str(file)]
    first = subprocess.Popen([*command, "--speed", "10"], cwd=ROOT, env=os.environ | variables, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    while not log.read(tag):
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    said = first.stderr.read()
    assert first.wait(20) == 130
    assert "Traceback" not in said
    stopped = re.search(r"continue with --from (\d+)", said)
    assert stopped is not None
    arrived = {int(record.value["event_id"].split("-")[-1]) for record in log.read(tag)}
    assert arrived == set(range(int(stopped[1])))
    again = subprocess.run(
        [*command, "--from", stopped[1], "--json"], cwd=ROOT, env=os.environ | variables, capture_output=True, check=True
    )
    assert orjson.loads(again.stdout)["events"] == 400 - len(arrived)
    assert len(log.read(tag)) == 400


def test_nothing_behind_the_end() -> None:
    with pytest.raises(InvalidInput, match="--from 10: made for a test has 10 events"):
        replay(Settings(kafka="127.0.0.1:1"), Made(10), math.inf, None, True, False, _silent, start=10)


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "nan", "inf", "1e999"])
def test_bad_speeds_are_named(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected real, max"):
        parse_speed(text)
