"""The state that the log alone gives: the worker's own pipelines on a store in memory, without Kafka."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from aiokafka.structs import ConsumerRecord

from feature_store.catalogue import Catalogue
from feature_store.memory import MemoryStore
from feature_store.port import PartitionWriter
from schemas.settings import Settings
from schemas.topics import ITEM_SIGNALS
from stream_workers.handlers.settings import ModelSettings
from stream_workers.item_pipeline import ItemPipeline
from stream_workers.pipeline import Batch
from stream_workers.services import Outgoing, Services
from stream_workers.user_pipeline import UserPipeline


class _Signals:
    """Takes the place of the producer: signals stay in memory, everything else was already done by the live worker."""

    def __init__(self) -> None:
        self.waiting: dict[int, list[Outgoing]] = defaultdict(list)

    async def send(self, records: list[Outgoing]) -> None:
        for record in records:
            if record.topic == ITEM_SIGNALS and record.partition is not None:
                self.waiting[record.partition].append(record)


class LogReplay:
    """Applies records of the log and keeps the state.

    Attributes:
        store: the state.
        topics: topics that had records.
        unsure: users with an event whose item changed in the catalogue afterwards; their affinities cannot be told from the log.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue, catalogue_times: Mapping[str, int]) -> None:
        self._times = catalogue_times
        self._signals = _Signals()
        self.store = MemoryStore()
        self.unsure: set[str] = set()
        self.topics: set[str] = set()
        self.events = 0
        models = ModelSettings.from_settings(settings)
        self._services = Services(settings, models, self.store, self._signals, catalogue, reach_catalogue=_at_once, rewind=_never)
        self._users: dict[int, tuple[UserPipeline, PartitionWriter]] = {}
        self._items: dict[int, tuple[ItemPipeline, PartitionWriter]] = {}
        self._signal_offsets: dict[int, int] = defaultdict(int)

    async def apply(self, partition: int, records: list[ConsumerRecord]) -> None:
        """Apply records of one user partition, in log order."""
        if partition not in self._users:
            users = UserPipeline(partition, self._services)
            self._users[partition] = users, await users.begin()
        pipeline, writer = self._users[partition]
        self.topics.update(record.topic for record in records)
        by_topic: dict[str, list[ConsumerRecord]] = defaultdict(list)
        for record in records:
            by_topic[record.topic].append(record)
        batch = Batch(dict(by_topic))
        self._note_unsure(pipeline, batch, writer)
        await pipeline.apply(batch, writer)
        self.events += len(records)
        await self._apply_signals()

    async def finish(self) -> None:
        """Write what waits in memory."""
        for pipeline, writer in self._items.values():
            await pipeline.flush(writer)

    def _note_unsure(self, pipeline: UserPipeline, batch: Batch, writer: PartitionWriter) -> None:
        events = pipeline.decode(batch, writer).batch
        for user, item, appended in zip(events.users, events.items, events.appended, strict=True):
            if self._times.get(item, -1) > appended:
                self.unsure.add(user)

    async def _apply_signals(self) -> None:
        waiting, self._signals.waiting = self._signals.waiting, defaultdict(list)
        for partition, messages in waiting.items():
            if partition not in self._items:
                items = ItemPipeline(partition, self._services)
                self._items[partition] = items, await items.begin()
            pipeline, writer = self._items[partition]
            records = []
            for message in messages:
                records.append(_record(message, self._signal_offsets[partition]))
                self._signal_offsets[partition] += 1
            await pipeline.apply(Batch({ITEM_SIGNALS: records}), writer)


def _record(message: Outgoing, offset: int) -> ConsumerRecord:
    return ConsumerRecord(
        message.topic, message.partition or 0, offset, 0, 1, message.key, message.value, None, 0, len(message.value or b""), ()
    )


async def _at_once(log_time_ms: int, now_ms: int) -> None:
    """The catalogue was read before the events."""


async def _never(positions: Mapping[tuple[str, int], int]) -> Mapping[tuple[str, int], int]:
    raise AssertionError("a store in memory is never lost")
