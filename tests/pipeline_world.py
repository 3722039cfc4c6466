"""One pipeline over a fake Kafka and a store that fails on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from aiokafka.structs import ConsumerRecord

from feature_store.catalogue import Catalogue
from feature_store.keys import trending_key, user_key
from feature_store.memory import MemoryStore, MemoryWriter
from feature_store.port import Writes
from feature_store.user_blob import unpack_user
from schemas.errors import KafkaUnavailable, StoreUnavailable
from schemas.ids import partition_of
from schemas.settings import Settings
from stream_workers.handlers.settings import ModelSettings
from stream_workers.pipeline import Pipeline
from stream_workers.services import Outgoing, Services
from stream_workers.transport import FetchedRecords
from stream_workers.user_pipeline import UserPipeline

NOW = 1_767_225_600_000
TWO = 2  # partitions where partitioning matters
IN_0 = next(str(n) for n in range(99) if partition_of(str(n), TWO) == 0)
IN_1 = next(str(n) for n in range(99) if partition_of(str(n), TWO) == 1)


class Sink:
    """Kafka as a producer sees it: acknowledges, is down for some calls, or keeps one waiting."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []
        self.calls: list[list[Outgoing]] = []
        self.down = 0
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, records: list[Outgoing]) -> None:
        await self.open.wait()
        self.calls.append(records)
        self.records += records  # also when it fails: unacknowledged is not the same as absent
        if self.down:
            self.down -= 1
            raise KafkaUnavailable("no acknowledgement")

    def of(self, topic: str) -> list[Outgoing]:
        return [record for record in self.records if record.topic == topic]


class Shaky(MemoryStore):
    """A store whose next calls fail: a commit before or after it took effect, a claim, a read."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def fails(self, kind: str) -> bool:
        if kind in self.faults:
            self.faults.remove(kind)
            return True
        return False

    async def claim(self, watermarks_key: bytes) -> MemoryWriter:
        if self.fails("claim"):
            raise StoreUnavailable("claim")
        return ShakyWriter(self, watermarks_key)

    async def read(self, keys: Any) -> list[bytes | None]:
        if self.fails("read") or (trending_key(0) in keys and self.fails("read leaders")):
            raise StoreUnavailable("read")
        return await super().read(keys)


class ShakyWriter(MemoryWriter):
    _store: Shaky

    async def commit(self, writes: Writes) -> None:
        if writes.watermarks and self._store.fails("before"):
            raise StoreUnavailable("before the commit")
        marks = dict(self._watermarks)
        gone_back = {name for name, offset in writes.watermarks.items() if offset < marks.get(name, -1)}
        assert not gone_back, f"watermarks that go back: {gone_back}"
        await super().commit(writes)
        if writes.watermarks and self._store.fails("after"):
            self._watermarks = marks  # the writer cannot know
            raise StoreUnavailable("after the commit")


class World:
    """One pipeline over a log that can be read from anywhere, any number of times."""

    def __init__(self, stage: type[Pipeline] = UserPipeline, partitions: int = 1, **numbers: Any) -> None:
        settings = Settings(partitions=partitions, linger_ms=0, item_linger_ms=0, **numbers)
        self.store, self.sink = Shaky(), Sink()
        self.log: dict[str, list[ConsumerRecord]] = {}
        self.position: dict[str, int] = {}
        self.epoch: dict[str, int] = {}
        self.fetch = 3  # records in one list
        self.rewinds: list[dict[str, int]] = []
        models = ModelSettings(partitions=partitions)
        self.services = Services(settings, models, self.store, self.sink, Catalogue(), _at_once, self.rewind, clock_ms=lambda: NOW)
        self.pipeline = stage(0, self.services)

    async def rewind(self, positions: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        self.rewinds.append({topic: offset for (topic, _), offset in positions.items()})
        for (topic, _), offset in positions.items():
            self.position[topic] = offset
            self.epoch[topic] = self.epoch.get(topic, 0) + 1
        return {place: self.epoch[place[0]] for place in positions}

    def append(self, topic: str, value: bytes | None, offset: int | None = None, **more: Any) -> ConsumerRecord:
        log = self.log.setdefault(topic, [])
        place = len(log) if offset is None else offset
        key, headers = more.get("key"), more.get("headers", ())
        log.append(ConsumerRecord(topic, 0, place, NOW, 1, key, value, None, 0, 0, headers))
        return log[-1]

    def click(self, user: str = "u", item: str = "7", **more: Any) -> ConsumerRecord:
        return self.append("clicks", orjson.dumps({"user_id": user, "item_id": item, "timestamp": NOW}), **more)

    async def offer(self, *records: ConsumerRecord, epoch: int | None = None) -> None:
        topic = records[0].topic
        await self.pipeline.offer(topic, FetchedRecords(list(records), self.epoch[topic] if epoch is None else epoch))

    async def pump(self) -> None:
        """Fetch and offer until the consumer stands at the end of the log."""
        for topic, log in self.log.items():
            while rest := [record for record in log if record.offset >= self.position[topic]][: self.fetch]:
                self.position[topic] = rest[-1].offset + 1
                await self.offer(*rest)

    async def settle(self) -> None:
        """Until the store contains the whole log and has had all its faults."""
        key = self.pipeline._watermarks_key()
        wanted = {topic: log[-1].offset for topic, log in self.log.items()}
        for _ in range(400):
            await self.pump()
            marks = await self.store.watermarks(key)
            if not self.store.faults and all(marks.get(topic) == offset for topic, offset in wanted.items()):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"stored {marks}, the log has {wanted}, failed with {self.pipeline.failed!r}")

    def clicks_of(self, user: str) -> int:
        blob = self.store.blobs.get(user_key(0, user))
        return unpack_user(blob).counts[1] if blob else 0


async def _at_once(log_time_ms: int, now_ms: int) -> None:
    return


@contextlib.asynccontextmanager
async def running(stage: type[Pipeline] = UserPipeline, **numbers: Any) -> AsyncIterator[World]:
    world = World(stage, **numbers)
    positions = await world.pipeline.open()
    for (topic, _), epoch in (await world.rewind({(topic, 0): offset for topic, offset in positions.items()})).items():
        world.pipeline.started(topic, epoch)
    world.rewinds.clear()
    try:
        yield world
    finally:
        world.sink.open.set()
        await world.pipeline.close()
