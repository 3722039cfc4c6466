"""What every benchmark needs: real servers of its own, made-up events, workers and APIs as processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import redis
from confluent_kafka import Consumer, Producer, TopicPartition

from feature_store.keys import MODEL_INDEX, item_watermarks_key, user_watermarks_key
from feature_store.page_format import unpack_index
from ops.stack import Servers, servers
from ops.topics import create_topics
from schemas.settings import Settings
from schemas.topics import EVENT_TOPICS, ITEM_SIGNALS

ITEMS, CATEGORIES = 10_000, 20
API = ("-m", "ops.cli", "api")
Record = tuple[str, str, bytes]


def wait_until(done: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until `done` is truthy."""
    deadline = time.monotonic() + seconds
    while not (result := done()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.005)
    return result


def catalogue(items: int = ITEMS) -> list[Record]:
    """Items with two of 20 categories each."""
    rng = np.random.default_rng(1)
    records = []
    for item in range(items):
        categories = [f"category {c}" for c in rng.choice(CATEGORIES, 2, replace=False)]
        record = {"item_id": str(1_000_000 + item), "title": f"Film {item}", "categories": categories}
        records.append(("items", str(1_000_000 + item), orjson.dumps(record)))
    return records


def events(count: int, users: int, seed: int = 2, start_ms: int | None = None, items: int = ITEMS) -> Iterator[Record]:
    """Clicks and views of `users` users on Zipf-popular items, a second apart, each with an event id."""
    rng = np.random.default_rng(seed)
    taken = 1_000_000 + np.minimum((rng.pareto(0.8, count) * 20).astype(np.int64), items - 1)
    who = rng.integers(0, users, count)
    clicked = rng.random(count) < 0.7
    start = start_ms if start_ms is not None else int(time.time() * 1000) - count * 1000
    for n, (item, user, click) in enumerate(zip(taken.tolist(), who.tolist(), clicked.tolist(), strict=True)):
        value = {"event_id": f"{seed}-{n}", "user_id": f"user{user}", "item_id": str(item), "timestamp": start + n * 1000}
        yield ("clicks" if click else "views", f"user{user}", orjson.dumps(value))


def compile_models() -> None:
    """Have the kernels of the online models in numba's cache before any clock runs."""
    subprocess.run([sys.executable, "-m", "stream_workers.compiling"], check=True)


class Rig:
    """Servers and processes of one benchmark."""

    def __init__(self, running: Servers, folder: Path, partitions: int) -> None:
        self.servers = running
        self.folder = folder
        self.settings = Settings.from_environment({}, kafka=running.kafka, redis=running.redis, partitions=partitions)
        self.redis = redis.Redis.from_url(running.redis)
        self._processes: list[subprocess.Popen[bytes]] = []

    def produce(self, records: Iterator[Record] | list[Record]) -> int:
        """Write records, wait for the acknowledgements; returns how many."""
        producer = Producer(
            {"bootstrap.servers": self.servers.kafka, "partitioner": "murmur2_random", "linger.ms": 20,
             "queue.buffering.max.messages": 1_000_000}
        )  # fmt: skip
        count = 0
        for topic, key, value in records:
            producer.produce(topic, value, key)
            count += 1
            if count % 1000 == 0:
                producer.poll(0)
        if producer.flush(120):
            raise TimeoutError("Kafka did not acknowledge")
        return count

    def spawn(self, *command: str, root: Path | None = None, **settings: Any) -> subprocess.Popen[bytes]:
        """Start a process with the addresses in its environment, of this checkout or of another one."""
        given = {"kafka": self.servers.kafka, "redis": self.servers.redis, "partitions": self.settings.partitions} | settings
        environment = os.environ | {f"FRESHET_{name.upper()}": str(value) for name, value in given.items()}
        environment |= {"PYTHONPATH": str(root)} if root else {}
        with (self.folder / f"process-{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, *command], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=log)
        self._processes.append(process)
        return process

    def worker(self, **settings: Any) -> subprocess.Popen[bytes]:
        """Start a worker, wait until it owns its partitions."""
        process = self.spawn("-m", "ops.cli", "worker", **settings)
        wait_until(lambda: process.poll() is not None or any(self.redis.scan_iter("worker:*")), 60, "the worker to start")
        return process

    def rate_of(self, log: list[Record], learner: bool) -> float:
        """Events per second of the worker that runs: from the first one of the log applied until all are in Redis, and learnt if it
        learns."""
        if learner:
            wait_until(self._is_learning, 120, "the learner to start")
        self.produce(log)
        wait_until(lambda: self.applied()[0], 60, "the first event")
        first, started = self.applied()[0], time.perf_counter()
        self.settle(300)
        if learner:
            self.settle_models(len(log))
        return (len(log) - first) / (time.perf_counter() - started)

    def _is_learning(self) -> bool:
        beats = [orjson.loads(self.redis.get(key) or b"{}") for key in self.redis.scan_iter("worker:*")]
        return any((beat.get("learner") or {}).get("lag") is not None for beat in beats)

    def api(self, root: Path | None = None, **settings: Any) -> str:
        """Start an API, wait until it is ready; returns its URL."""
        return self.server(*API, ready="/readyz", root=root, **settings)[0]

    def server(self, *command: str, ready: str, root: Path | None = None, **settings: Any) -> tuple[str, subprocess.Popen[bytes]]:
        """Start something that listens at the port of the settings, wait until that path answers 200; returns its URL too."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = self.spawn(*command, root=root, api_port=port, **settings)
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(url + ready).status_code == 200
            return False

        wait_until(answers, 120, f"{' '.join(command)} to be ready")
        return url, process

    def applied(self) -> tuple[int, int]:
        """Records whose effect the store contains: of the event topics, and of `item-signals`."""
        done = signals = 0
        for partition in range(self.settings.partitions):
            marks = self.redis.hgetall(user_watermarks_key(partition))
            done += sum(int(marks.get(topic.encode(), -1)) + 1 for topic in EVENT_TOPICS)
            signals += int(self.redis.hget(item_watermarks_key(partition), ITEM_SIGNALS) or -1) + 1
        return done, signals

    def end(self, *topics: str) -> int:
        """Records in these topics."""
        consumer = Consumer({"bootstrap.servers": self.servers.kafka, "group.id": "benchmarks"})
        places = [TopicPartition(topic, p) for topic in topics for p in range(self.settings.partitions)]
        try:
            return sum(consumer.get_watermark_offsets(place, timeout=20)[1] for place in places)
        finally:
            consumer.close()

    def settle(self, seconds: float = 120.0) -> None:
        """Wait until everything in the log, to which no events are added meanwhile, is in the store."""
        events = self.end(*EVENT_TOPICS)  # asked once: the broker has other things to do
        wait_until(lambda: self.applied()[0] == events, seconds, "the worker to apply all events")
        wait_until(lambda: self.applied()[1] == self.end(ITEM_SIGNALS), seconds, "the worker to apply all signals")

    def settle_models(self, events: int) -> None:
        """Wait until the stored models have learnt so many events."""
        wait_until(lambda: self._learnt() == events, 300, "the learner to learn everything")

    def _learnt(self) -> int:
        blob = self.redis.get(MODEL_INDEX)
        return unpack_index(blob).events if blob else 0

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End one process."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            self.stop(process)


@contextmanager
def rig(partitions: int = 2) -> Iterator[Rig]:
    """Fresh servers with all topics."""
    with tempfile.TemporaryDirectory(prefix="freshet-bench-") as name:
        folder = Path(name)
        os.environ.setdefault("FRESHET_CACHE", str(Path("~/.freshet/cache").expanduser()))
        with servers(Settings.from_environment({}, home=folder), folder / "servers", say=lambda line: None) as running:
            made = Rig(running, folder, partitions)
            create_topics(made.settings, say=lambda line: None)
            try:
                yield made
            finally:
                made.close()
