"""The loop of one partition of one stage: take lists of records, apply, send what follows, commit; recover when a server is lost.

Order of a batch: (1) what it sends to Kafka is acknowledged, (2) its writes and watermarks enter the store in one transaction.
A crash between the two sends the same records again, and their receivers skip them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from feature_store.port import PartitionWriter, Writes
from schemas.errors import Fenced, FreshetError, KafkaUnavailable, StoreUnavailable
from stream_workers.services import Services
from stream_workers.transport import FetchedRecords

log = logging.getLogger(__name__)
_BACKOFF_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
_DRAIN_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 2.0
COMPACTED: Final = frozenset({"items", "users"})


class Batch(NamedTuple):
    """Records of one partition number, by topic, above the watermarks."""

    records: dict[str, list[ConsumerRecord]]

    def watermarks(self) -> dict[str, int]:
        """Last offset of each topic."""
        return {topic: records[-1].offset for topic, records in self.records.items() if records}


class Pipeline(ABC):
    """One partition of one stage.

    Args:
        partition: partition number, the same in all `topics`.
        topics: topics whose records arrive here.
        services: shared parts of the worker.
        linger_ms: how long to wait for more records before a batch is applied.
    """

    def __init__(self, partition: int, topics: tuple[str, ...], services: Services, linger_ms: int) -> None:
        self.partition = partition
        self.topics = topics
        self._services = services
        self._linger = linger_ms / 1000
        self._queue: list[tuple[str, FetchedRecords]] = []
        self._queued = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._epochs: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._accepted_gap: dict[str, int] = {}
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._writer: PartitionWriter | None = None

    @abstractmethod
    def _watermarks_key(self) -> bytes:
        """Key of the partition's watermarks."""

    @abstractmethod
    async def _restart(self, writer: PartitionWriter) -> None:
        """Forget everything in memory and begin from what the store holds."""

    @abstractmethod
    async def apply(self, batch: Batch, writer: PartitionWriter) -> None:
        """Apply and commit a batch.

        Raises:
            Fenced, StoreUnavailable, KafkaUnavailable: memory may be ahead of the store; `_restart` follows.
        """

    async def _idle(self, writer: PartitionWriter) -> None:
        """Work that is due when no records wait: here, an empty commit, which notices a flushed store or another owner.

        Raises:
            Fenced, StoreUnavailable: as `apply`.
        """
        await writer.commit(Writes())

    async def _finish(self, writer: PartitionWriter) -> None:
        """Last work before the partition is given back: none here. Raises as `apply`."""
        return

    def _idle_seconds(self) -> float:
        """Seconds until `_idle` is due."""
        return _PROBE_SECONDS

    async def open(self) -> dict[str, int]:
        """Claim the partition and begin to run.

        Returns:
            The offset to read next, for each topic.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        await self.begin()
        self._task = asyncio.create_task(self._run(), name=f"{type(self).__name__}-{self.partition}")
        return self._positions()

    async def begin(self) -> PartitionWriter:
        """Claim the partition and take over the stored state, without running; `apply` may then be called directly."""
        self._writer = await self._services.store.claim(self._watermarks_key())
        await self._restart(self._writer)
        return self._writer

    def started(self, topic: str, epoch: int) -> None:
        """Records of this topic are taken from this epoch on."""
        self._epochs[topic] = epoch

    def committable(self, topic: str) -> int | None:
        """Next offset of a topic according to the store; None before the first."""
        done = self._writer.watermarks.get(topic) if self._writer else None
        return None if done is None else done + 1

    async def offer(self, topic: str, fetched: FetchedRecords) -> None:
        """Queue fetched records; waits while the queue is full."""
        while self._queued >= 2 * self._services.settings.batch_events and not self._closing:
            self._room.clear()
            await self._room.wait()
        if self._closing or fetched.epoch != self._epochs.get(topic):
            return
        first, expected = fetched.records[0].offset, self._next[topic]
        if first > expected and topic not in COMPACTED and self._accepted_gap.get(topic) != expected:
            # Either records were lost between the consumer and here, or the log itself has a gap (transaction markers,
            # expired segments). Reading once more tells.
            self._accepted_gap[topic] = expected
            await self._rewind({topic: expected}, keep_queued=True)
            return
        if first < expected:  # delivered twice
            fetched = fetched._replace(records=[record for record in fetched.records if record.offset >= expected])
            if not fetched.records:
                return
        self._next[topic] = fetched.records[-1].offset + 1
        self._queue.append((topic, fetched))
        self._queued += len(fetched.records)
        self._wake.set()

    async def close(self) -> None:
        """Finish what is queued if that is possible soon, then give the partition back."""
        self._closing = True
        self._wake.set()
        self._room.set()
        if self._task is not None:
            _, pending = await asyncio.wait({self._task}, timeout=_DRAIN_SECONDS)
            for task in pending:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._writer is not None:
            await self._writer.close()

    @property
    def failed(self) -> BaseException | None:
        """The error that ended the loop, if one did; it should never end."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def _positions(self) -> dict[str, int]:
        watermarks = self._writer.watermarks if self._writer else {}
        self._next = {topic: watermarks.get(topic, -1) + 1 for topic in self.topics}
        return dict(self._next)

    async def _run(self) -> None:
        while True:
            batch = await self._take()
            assert self._writer is not None  # noqa: S101 - `open` set it
            if self._closing and not batch.records:
                with contextlib.suppress(Fenced, StoreUnavailable):
                    await self._finish(self._writer)
                return
            try:
                if batch.records:
                    await self.apply(batch, self._writer)
                else:
                    await self._idle(self._writer)
            except (Fenced, StoreUnavailable, KafkaUnavailable) as error:
                if not await self._recover(batch, error):
                    return

    async def _take(self) -> Batch:
        """Wait for records (or for idle work to be due), linger a little, take all that is there."""
        if not self._queue:
            self._wake.clear()
            if self._closing:
                return Batch({})
            try:
                await asyncio.wait_for(self._wake.wait(), self._idle_seconds())
            except TimeoutError:
                return Batch({})
        if self._linger and self._queued < self._services.settings.batch_events and not self._closing:
            await asyncio.sleep(self._linger)
        taken, room = 0, self._services.settings.batch_events
        records: dict[str, list[ConsumerRecord]] = {}
        while self._queue and taken < room:
            topic, fetched = self._queue.pop(0)
            taken += len(fetched.records)
            records.setdefault(topic, []).extend(fetched.records)
        self._queued -= taken
        self._room.set()
        return Batch(records)

    async def _recover(self, batch: Batch, error: FreshetError) -> bool:
        """Begin again from the store; False if the pipeline is closing and gave up."""
        log.warning("%s %d: %s; starting again from the store", type(self).__name__, self.partition, error)
        self._services.counters.recoveries += 1
        attempt = 0
        before = dict(self._writer.watermarks) if self._writer else {}
        while True:
            try:
                await asyncio.sleep(_BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)])
                await self._reclaim()
                if self._writer and dict(self._writer.watermarks) == before and batch.records:
                    await self.apply(batch, self._writer)
                else:
                    await self._rewind(self._positions())
            except (Fenced, StoreUnavailable, KafkaUnavailable) as again:
                if self._closing:
                    return False
                attempt += 1
                if attempt % 10 == 0:
                    log.warning("%s %d: still waiting: %s", type(self).__name__, self.partition, again)
            else:
                return True

    async def _reclaim(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        await self.begin()

    async def _rewind(self, positions: Mapping[str, int], keep_queued: bool = False) -> None:
        """Drop queued records of these topics and read again from the given offsets."""
        for topic in positions:
            self._epochs[topic] = -1  # nothing is taken until the consumer says which epoch the new position has
        if not keep_queued:
            self._queue = [(topic, fetched) for topic, fetched in self._queue if topic not in positions]
        self._queued = sum(len(fetched.records) for _, fetched in self._queue)
        self._room.set()
        self._next.update(positions)
        epochs = await self._services.rewind({(topic, self.partition): offset for topic, offset in positions.items()})
        for (topic, _), epoch in epochs.items():
            self._epochs[topic] = epoch
