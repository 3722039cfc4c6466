"""What the learner reads: all partitions of `interactions`, merged, from where its watermarks say."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from feature_store.keys import user_watermarks_key
from feature_store.port import FeatureStore
from schemas.errors import InvalidEvent, KafkaUnavailable
from schemas.topics import INTERACTIONS
from stream_workers.handlers.interaction_merge import InteractionMerge, Merged, Queue, mark_name
from stream_workers.handlers.interactions import decode_interactions

log = logging.getLogger(__name__)
_BUFFERED_ROWS: Final = 16_000  # of one partition; a partition with more is not read
_MESSAGES_PER_READ: Final = 64
_FETCH_WAIT_MS: Final = 20
_FETCH_BYTES: Final = 1 << 20
_RELEASE_SECONDS: Final = 0.05  # between two looks at what the other partitions may still deliver
_PATIENCE_SECONDS: Final = 5.0  # with a user stage that is behind its log
_SILENT_SECONDS: Final = 30.0
_REQUEST_MS: Final = 10_000


def new_consumer(kafka: str) -> AIOKafkaConsumer:
    """A consumer for a feed, not started."""
    return AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
        fetch_max_wait_ms=_FETCH_WAIT_MS, max_partition_fetch_bytes=_FETCH_BYTES, request_timeout_ms=_REQUEST_MS,
    )  # fmt: skip


@dataclass
class _Gate:
    """Rows that wait for queues in which nothing waits.

    Attributes:
        waiting: as of `InteractionMerge.waiting`.
        ends: for each of those queues, where its event topic ended then. until: the patience.
        told: where the partitions of `interactions` ended when their user stages had got that far; None: they have not yet.
    """

    waiting: dict[Queue, int]
    ends: dict[Queue, int]
    until: float
    told: dict[int, int] | None = None


class LearnerFeed:
    """Reads, merges, and knows what was taken.

    Args:
        consumer: without a group; see `new_consumer`.
        partitions: partition count.
        marks: the learner's watermarks.
        store: for the user stages' watermarks.
    """

    def __init__(self, consumer: AIOKafkaConsumer, partitions: int, marks: Mapping[str, int], store: FeatureStore) -> None:
        self._store = store
        self._merge = InteractionMerge(range(partitions), marks)
        self._next = {p: marks.get(mark_name(INTERACTIONS, p), -1) + 1 for p in range(partitions)}
        self._gate: _Gate | None = None
        self._look_again = 0.0
        self._excused: dict[int, dict[str, int]] = {}
        self._heard = time.monotonic()
        self._consumer = consumer

    @property
    def marks(self) -> dict[str, int]:
        """Watermarks for everything taken so far; at least one, because the store fences by them."""
        return {mark_name(INTERACTIONS, p): -1 for p in self._next} | self._merge.marks

    async def open(self) -> None:
        """Connect and go where the watermarks say.

        Raises:
            KafkaUnavailable: no broker answers.
        """
        try:
            await self._consumer.start()
            self._consumer.assign([_place(INTERACTIONS, partition) for partition in self._next])
            for partition, offset in self._next.items():
                self._consumer.seek(_place(INTERACTIONS, partition), offset)
        except (KafkaError, OSError) as error:
            await self.close()
            raise KafkaUnavailable(f"learner: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def fill(self, wait_ms: int) -> None:
        """Read what there is; waits this long for something where nothing is.

        Raises:
            KafkaUnavailable: the consumer failed.
        """
        hungry = [_place(INTERACTIONS, p) for p in self._next if not self._is_full(p)]
        if not hungry:
            return
        try:
            fetched = await self._consumer.getmany(*hungry, timeout_ms=wait_ms, max_records=_MESSAGES_PER_READ)
        except (KafkaError, OSError) as error:
            raise KafkaUnavailable(f"learner: {type(error).__name__}: {error}") from error
        for records in fetched.values():
            self._heard = time.monotonic()
            for record in records:
                self._add(record)

    async def take(self, limit: int) -> Merged | None:
        """The next rows, at most `limit`; None if there are none, or if older ones may still come.

        Raises:
            KafkaUnavailable, StoreUnavailable: what the other partitions may still deliver could not be found out.
        """
        merged = self._merge.take(limit)
        if merged is None and self._merge.rows:
            await self._open_gate()
            merged = self._merge.take(limit)
        return merged

    def lag(self, done: Mapping[str, int]) -> int:
        """Messages of the log that these marks do not contain, as far as the brokers have said."""
        ends = ((p, self._consumer.highwater(_place(INTERACTIONS, p))) for p in self._next)
        return sum(max(0, end - 1 - done.get(mark_name(INTERACTIONS, p), -1)) for p, end in ends if end is not None)

    async def check(self) -> None:
        """Raises KafkaUnavailable if there is something to read and nothing has come for long."""
        if time.monotonic() - self._heard < _SILENT_SECONDS:
            return
        ends = await self._ends(INTERACTIONS, self._next)
        if any(end > self._next[p] and not self._is_full(p) for p, end in ends.items()):
            raise KafkaUnavailable("learner: the consumer stopped silently")
        self._heard = time.monotonic()

    def _add(self, record: ConsumerRecord) -> None:
        if record.offset < self._next[record.partition]:  # delivered twice
            return
        self._next[record.partition] = record.offset + 1
        try:
            self._merge.add(record.partition, record.offset, decode_interactions(record.value))
        except (InvalidEvent, ValueError) as error:
            log.warning("learner: %s %d:%d ignored: %s", record.topic, record.partition, record.offset, error)
            self._merge.skip(record.partition, record.offset)

    def _is_full(self, partition: int) -> bool:
        return self._merge.rows_in(partition) >= _BUFFERED_ROWS

    async def _open_gate(self) -> None:
        """Let rows pass that waited when everything that had happened by then was delivered; some of them, if it takes too long."""
        now = time.monotonic()
        if self._gate is None:
            if now < self._look_again:
                return
            self._look_again = now + _RELEASE_SECONDS
            self._gate = await self._new_gate(now)
        if await self._is_shut(self._gate, now < self._gate.until):
            return
        self._merge.release(self._gate.waiting)
        self._gate = None

    async def _new_gate(self, now: float) -> _Gate:
        waiting, silent = self._merge.waiting(), self._merge.silent()
        topics = {topic for _, topic in silent}
        found = {topic: await self._ends(topic, (p for p, silent_topic in silent if silent_topic == topic)) for topic in topics}
        return _Gate(waiting, {(p, topic): found[topic][p] for p, topic in silent}, now + _PATIENCE_SECONDS)

    async def _is_shut(self, gate: _Gate, patient: bool) -> bool:
        """Whether something that happened before the gate may still come: first into `interactions`, then from there.

        A partition of which as much waits as is read ahead keeps nobody waiting: its next rows are far away.
        """
        if gate.told is None:
            late = await self._late(gate.ends)
            if late and patient:
                return True
            if late:
                log.warning("learner: partitions %s are behind their log; going on without them", sorted(late))
                self._excused |= late
            # Whatever a user stage has committed is in the log already: so its end, asked for now, is far enough.
            gate.told = await self._ends(INTERACTIONS, {p for p, _ in gate.ends})
        return patient and any(end > self._next[p] and not self._is_full(p) for p, end in gate.told.items())

    async def _late(self, ends: Mapping[Queue, int]) -> dict[int, dict[str, int]]:
        """Partitions whose user stages have not committed everything before these ends, with how far they are."""
        partitions = sorted({p for p, _ in ends})
        found = await asyncio.gather(*(self._store.watermarks(user_watermarks_key(p)) for p in partitions))
        marks = dict(zip(partitions, found, strict=True))
        self._excused = {p: seen for p, seen in self._excused.items() if marks.get(p, seen) == seen}
        behind = {p for (p, topic), end in ends.items() if end - 1 > marks[p].get(topic, -1) and not self._is_full(p)}
        return {p: marks[p] for p in behind - self._excused.keys()}

    async def _ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        places = [_place(topic, partition) for partition in partitions]
        if not places:
            return {}
        try:
            ends = await self._consumer.end_offsets(places)
        except (KafkaError, OSError) as error:
            raise KafkaUnavailable(f"learner: {type(error).__name__}: {error}") from error
        return {place.partition: end for place, end in ends.items()}


def _place(topic: str, partition: int) -> TopicPartition:
    return TopicPartition(topic, partition)
