"""A learner over a fake log and a store that fails on demand: everything but the servers is real."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import ConsumerRecord

from feature_store.catalogue import Catalogue
from feature_store.keys import JUDGE_ARRAYS, MODEL_INDEX, learner_watermarks_key, user_watermarks_key
from feature_store.memory import MemoryStore
from feature_store.model_pages import Replica
from feature_store.page_format import unpack_index
from feature_store.port import Writes
from schemas.settings import Settings
from schemas.topics import INTERACTIONS, USER_STAGE_TOPICS
from stream_workers.handlers.interactions import InteractionColumns, encode_interactions
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.handlers.settings import ModelSettings
from stream_workers.learner import Learner
from stream_workers.services import Services
from tests.pipeline_world import Shaky, Sink
from tests.tiny_bank import TinyBank

START = 1_767_225_600_000


class FakeLog:
    """Partitions of records, and how far the event topics go; a consumer of it may fail."""

    def __init__(self, partitions: int) -> None:
        self.records: dict[int, list[bytes | None]] = {p: [] for p in range(partitions)}
        self.ends: dict[tuple[str, int], int] = Counter()
        self.down = 0

    def consumer(self) -> FakeConsumer:
        return FakeConsumer(self)


class FakeConsumer:
    """The part of AIOKafkaConsumer that the learner uses."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log
        self._next: dict[int, int] = {}

    async def start(self) -> None:
        if self._log.down:
            self._log.down -= 1
            raise KafkaConnectionError("down")

    async def stop(self) -> None: ...

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._next = {place.partition: 0 for place in places}

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._next[place.partition] = offset

    async def getmany(self, *places: TopicPartition, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, list[Any]]:
        found = {place: self._fetched(place.partition, 3) for place in places}
        if not any(found.values()):
            await asyncio.sleep(timeout_ms / 1000)
        return {place: records for place, records in found.items() if records}

    async def end_offsets(self, places: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        await asyncio.sleep(0)
        return {place: self._end(place) for place in places}

    def highwater(self, place: TopicPartition) -> int:
        return self._end(place)

    def _end(self, place: TopicPartition) -> int:
        return len(self._log.records[place.partition]) if place.topic == INTERACTIONS else self._log.ends[tuple(place)]

    def _fetched(self, partition: int, count: int) -> list[ConsumerRecord[Any, Any]]:
        first = self._next[partition]
        values = self._log.records[partition][first : first + count]
        self._next[partition] += len(values)
        return [ConsumerRecord(INTERACTIONS, partition, first + n, 0, 1, None, v, None, 0, 0, ()) for n, v in enumerate(values)]


class LearnerWorld:
    """User stages (played by the test), the log, the store and the learner."""

    def __init__(self, partitions: int, **numbers: Any) -> None:
        self.partitions = partitions
        self.log = FakeLog(partitions)
        self.store = Shaky()
        self.sent: Counter[str] = Counter()
        self.order: list[int] = []
        self.catalogue = Catalogue()
        self.banks: list[TinyBank] = []
        self._offsets: Counter[int] = Counter()
        settings = Settings(partitions=partitions, **numbers)
        models = ModelSettings(partitions=partitions)
        self.services = Services(settings, models, self.store, Sink(), self.catalogue, _at_once, _never, clock_ms=lambda: START)
        self.learner = self.new_learner()

    def new_learner(self) -> Learner:
        return Learner(self.services, self._new_stage, "origin", self.log.consumer, _ready)  # type: ignore[arg-type]

    def _new_stage(self) -> LearningStage:
        self.banks.append(TinyBank())
        return LearningStage(self.banks[-1], 1.0, repeats=False)

    def happen(self, partition: int, times: list[int], item: str = "7") -> InteractionColumns:
        """Events enter the raw log; `deliver` lets the user stage tell of them."""
        n, first = len(times), self._offsets[partition]
        self._offsets[partition] += n
        self.sent[item] += n
        self.log.ends["clicks", partition] = self._offsets[partition]
        zeros = np.zeros(n, np.int64)
        return InteractionColumns(
            partition, [f"u{partition}"], [item], [()], zeros, zeros, zeros,
            np.full(n, USER_STAGE_TOPICS.index("clicks"), np.uint8), np.arange(first, first + n), zeros + 1, zeros > 0,
            np.full(n, np.nan, np.float32), START + np.array(times, np.int64),
        )  # fmt: skip

    async def deliver(self, columns: InteractionColumns) -> None:
        """The user stage's message, then its commit."""
        self.log.records[columns.partition].append(encode_interactions(columns))
        await self.commit_user_stage(columns.partition, int(columns.offsets[-1]))

    async def commit_user_stage(self, partition: int, offset: int) -> None:
        writer = await MemoryStore.claim(self.store, user_watermarks_key(partition))  # has no faults
        await writer.commit(Writes({}, (), {"clicks": offset}))

    async def click(self, partition: int, times: list[int], item: str = "7") -> None:
        await self.deliver(self.happen(partition, times, item))

    def learnt(self) -> int:
        blob = self.store.blobs.get(MODEL_INDEX)
        return unpack_index(blob).events if blob else 0

    def stored_counts(self) -> Counter[str]:
        replica = Replica(skip=JUDGE_ARRAYS)
        wanted = replica.wanted(self.store.blobs[MODEL_INDEX])
        assert replica.take([self.store.blobs.get(place.key) for place in wanted])
        ids, counts = replica.state["items.ids"].tolist(), replica.state["items.counts"].tolist()
        return Counter({item.decode(): count for item, count in zip(ids, counts, strict=True) if item})

    async def settle(self, seconds: float = 10.0) -> None:
        """Until everything sent is in the store; then it must be there once."""
        await until(lambda: self.learnt() >= self.sent.total() and not self.store.faults, seconds)
        await asyncio.sleep(0.3)
        assert self.learnt() == self.sent.total()
        assert self.stored_counts() == self.sent

    async def marks(self) -> dict[str, int]:
        return await self.store.watermarks(learner_watermarks_key())


async def until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll until it is true."""
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 - what is waited for happens in the store
            await asyncio.sleep(0.002)


async def _ready() -> None:
    return


async def _at_once(log_time_ms: int, now_ms: int) -> None:
    return


async def _never(positions: Mapping[tuple[str, int], int]) -> Mapping[tuple[str, int], int]:
    raise AssertionError("the learner rewinds nothing")


@contextlib.asynccontextmanager
async def learning(partitions: int = 2, **numbers: Any) -> AsyncIterator[LearnerWorld]:
    world = LearnerWorld(partitions, **numbers)
    world.learner.start()
    try:
        yield world
    finally:
        await world.learner.stop()
