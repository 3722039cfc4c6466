"""The baselines of `worker_throughput`, each a process of its own: `python -m benchmarks.consumers KIND COUNT` prints seconds."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from typing import Any

import faust
import orjson
from aiokafka import AIOKafkaConsumer

import stream_workers.transport  # noqa: F401 - registers nothing by itself; the entry point does, this checks that it can be imported

TOPICS = ("views", "clicks")


class Clock:
    """Time between the first and the last record."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen, self.started = wanted, 0, 0.0

    def count(self, records: int) -> None:
        """Note records; ends the process after the last one."""
        if not self.seen:
            self.started = time.perf_counter()
        self.seen += records
        if self.seen >= self.wanted:
            print(f"\n{time.perf_counter() - self.started}", flush=True)  # behind the spinner that Faust draws
            os._exit(0)  # Faust takes seconds to stop, which is not what is measured


async def raw(kafka: str, clock: Clock) -> None:
    """aiokafka, JSON decoded."""
    consumer = AIOKafkaConsumer(*TOPICS, bootstrap_servers=kafka, group_id="raw", auto_offset_reset="earliest")
    await consumer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=100, max_records=2000)).values():
            for record in records:
                orjson.loads(record.value)
            clock.count(len(records))


def stock(kafka: str, clock: Clock) -> None:
    """A stock Faust agent that decodes JSON and does nothing else."""
    app = faust.App("stock", broker=f"kafka://{kafka}", store="memory://", web_enabled=False, topic_allow_declare=False,
                    topic_disable_leader=True, datadir=tempfile.mkdtemp(), consumer_auto_offset_reset="earliest")  # fmt: skip

    @app.agent(app.topic(*TOPICS, value_serializer="json"))
    async def take(stream: Any) -> None:
        async for _ in stream:
            clock.count(1)

    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


class FromTheStart:
    """Positions for the batching transport without a store."""

    async def assign(self, assigned: Any) -> dict[Any, int]:
        """Everything from the beginning."""
        return dict.fromkeys(assigned, 0)

    def started(self, epochs: Any) -> None:
        """Nothing to note."""

    def committable(self, tp: Any) -> int | None:
        """Nothing to commit."""
        return None


def batching(kafka: str, clock: Clock) -> None:
    """Freshet's transport, JSON decoded, no other work."""
    app = faust.App("batching", broker=f"batching://{kafka}", store="memory://", web_enabled=False, topic_allow_declare=False,
                    topic_disable_leader=True, datadir=tempfile.mkdtemp(), broker_max_poll_records=4000,
                    stream_buffer_maxsize=16)  # fmt: skip
    app.freshet_runtime = FromTheStart()

    @app.agent(app.topic(*TOPICS, key_serializer="raw", value_serializer="raw"))
    async def take(stream: Any) -> None:
        async for event in stream.events():
            records = event.message.value.records
            for record in records:
                orjson.loads(record.value)
            clock.count(len(records))

    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    kind, count = sys.argv[1], Clock(int(sys.argv[2]))
    address = os.environ["FRESHET_KAFKA"]
    if kind == "raw":
        asyncio.run(raw(address, count))
    else:
        {"stock": stock, "batching": batching}[kind](address, count)
