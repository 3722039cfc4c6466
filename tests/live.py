"""A running Freshet for tests: workers and the API as processes, the log and the store at hand."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import orjson
import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from feature_store.item_blob import ItemState, unpack_item
from feature_store.keys import item_key, item_watermarks_key, user_key, user_watermarks_key
from feature_store.user_blob import UserState, unpack_user
from schemas.ids import partition_of
from schemas.settings import Settings
from schemas.topics import EVENT_TOPICS, ITEM_STAGE_TOPICS, USER_STAGE_TOPICS
from tests.servers import TestServers

NO_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
ITEM_FLUSH_SECONDS = 0.7  # the trending lists follow their events by half a second
Record = tuple[str, str | None, bytes | None]  # topic, key, value


def wait_until(done: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Poll until `done` is truthy; returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = done()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what or done}")
        time.sleep(0.02)


def high_water(consumer: Consumer, place: tuple[str, int]) -> tuple[int, int] | None:
    """First and next offset of a partition; None while a broker that has just come back does not lead it yet."""
    try:
        return consumer.get_watermark_offsets(TopicPartition(*place), timeout=20)
    except KafkaException as error:
        if error.args[0].code() not in NO_LEADER:
            raise
        return None


class Live:
    """One Kafka, one Redis, any number of workers and APIs."""

    def __init__(self, servers: TestServers, settings: Settings, folder: Path) -> None:
        self.servers = servers
        self.settings = settings
        self.folder = folder
        self.redis = redis.Redis.from_url(servers.redis, retry_on_timeout=True)
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Live:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._processes:
            self.stop(process, kill=True)

    def create_topics(self) -> None:
        from ops.topics import create_topics

        create_topics(self.settings, say=lambda line: None)

    def environment(self, **more: Any) -> dict[str, str]:
        settings = {"kafka": self.servers.kafka, "redis": self.servers.redis, "partitions": self.settings.partitions}
        settings |= {"session_timeout_ms": self.settings.session_timeout_ms, "group": self.settings.group} | more
        return os.environ | {f"FRESHET_{name.upper()}": str(value) for name, value in settings.items()}

    def spawn(self, *command: str, **settings: Any) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{command[0]}-{len(self._processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli", *command], env=self.environment(**settings), stdout=log, stderr=log
        )
        self._processes.append(process)
        return process

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        at = self._processes.index(process)
        return next(self.folder.glob(f"*-{at}.log")).read_text(errors="replace")

    def worker(self, wait: bool = True, **settings: Any) -> subprocess.Popen[bytes]:
        process = self.spawn("worker", **settings)
        if wait:
            wait_until(lambda: self.is_ready(process), 120, "the worker to be ready")
        return process

    def api(self, wait: bool = True, **settings: Any) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = self.spawn("api", api_port=port, **settings)
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, self.log_of(process)
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(url + ("/readyz" if wait else "/healthz")).status_code == 200
            return False

        wait_until(answers, 60, "the API to be ready")
        return url

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.log_of(process)
        return any(beat.get("pid") == process.pid and beat["partitions"] for beat in self.heartbeats())

    def heartbeats(self) -> list[dict[str, Any]]:
        keys = list(self.redis.scan_iter("worker:*"))
        return [orjson.loads(value) for value in self.redis.mget(keys) if value] if keys else []

    def stop(self, process: subprocess.Popen[bytes], kill: bool = False) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                if not kill:
                    raise

    def produce(self, records: Iterable[Record], partition: Callable[[Record], int | None] = lambda record: None) -> None:
        """Write records and wait for all acknowledgements; `partition` overrides the partitioner."""
        failures: list[str] = []
        producer = Producer(
            {"bootstrap.servers": self.servers.kafka, "partitioner": "murmur2_random", "linger.ms": 2, "message.max.bytes":
            8_000_000,
             "enable.idempotence": True}
        )  # fmt: skip
        for record in records:
            topic, key, value = record
            extra = {} if (chosen := partition(record)) is None else {"partition": chosen}
            while True:
                try:
                    producer.produce(
                        topic, value, key, on_delivery=lambda error, _: failures.append(str(error)) if error else None, **extra
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not failures, failures[:3]

    def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        consumer = Consumer({"bootstrap.servers": self.servers.kafka, "group.id": "tests"})
        ends: dict[tuple[str, int], int] = {}
        try:
            for place in ((topic, partition) for topic in topics for partition in range(self.settings.partitions)):
                ends[place] = wait_until(lambda place=place: high_water(consumer, place), what=f"a leader of {place}")[1]
            return ends
        finally:
            consumer.close()

    def read_topic(self, topic: str) -> list[Any]:
        """Every record of a topic, as confluent-kafka messages."""
        ends = self.ends([topic])
        consumer = Consumer({"bootstrap.servers": self.servers.kafka, "group.id": "tests", "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, partition, 0) for (_, partition), end in ends.items() if end])
        messages: list[Any] = []
        deadline = time.monotonic() + 30
        while len(messages) < sum(ends.values()) and time.monotonic() < deadline:
            messages.extend(message for message in consumer.consume(1000, 0.5) if message.error() is None)
        consumer.close()
        return messages

    def behind(self) -> dict[tuple[str, int], int]:
        """How many records of each partition of the log have no effect in the store yet; only those that have some."""
        found = {}
        for (topic, partition), end in self.ends((*USER_STAGE_TOPICS, *ITEM_STAGE_TOPICS)).items():
            key = user_watermarks_key(partition) if topic in USER_STAGE_TOPICS else item_watermarks_key(partition)
            done = self.redis.hget(key, topic)
            if (missing := end - 1 - int(done if done is not None else -1)) > 0:
                found[topic, partition] = missing
        return found

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until the store contains the whole log, and goes on containing it when the stages write what waited."""
        try:
            wait_until(lambda: not self.behind(), seconds, "the store to contain the whole log")
            time.sleep(ITEM_FLUSH_SECONDS)
            wait_until(lambda: not self.behind(), 10.0, "the store to keep the whole log")
        except AssertionError as error:
            raise AssertionError(f"{error}; behind: {self.behind()}") from error

    def applied(self) -> int:
        """Events applied by the user stage, as the watermarks tell."""
        done = 0
        for partition in range(self.settings.partitions):
            marks = self.redis.hgetall(user_watermarks_key(partition))
            done += sum(int(marks.get(topic.encode(), -1)) + 1 for topic in EVENT_TOPICS)
        return done

    def user(self, user_id: str) -> UserState | None:
        blob = self.redis.get(user_key(partition_of(user_id, self.settings.partitions), user_id))
        return unpack_user(blob) if blob else None

    def item(self, item_id: str) -> ItemState | None:
        blob = self.redis.get(item_key(partition_of(item_id, self.settings.partitions), item_id))
        return unpack_item(blob) if blob else None


def event(user: str, item: str, timestamp: int, **more: Any) -> bytes:
    """The JSON of one event."""
    return orjson.dumps({"user_id": user, "item_id": item, "timestamp": timestamp} | more)
