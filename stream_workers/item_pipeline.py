"""The item stage at the edge: records of `item-signals` and `items` to the store."""

from __future__ import annotations

import time
from typing import Final

from aiokafka.structs import ConsumerRecord

from feature_store.catalogue import parse_item
from feature_store.keys import category_trending_key, item_key, item_watermarks_key, trending_key
from feature_store.packing import CorruptBlob
from feature_store.port import PartitionWriter, Writes
from feature_store.trending_blob import unpack_trending
from schemas.errors import InvalidEvent
from schemas.topics import ITEM_SIGNALS, ITEM_STAGE_TOPICS, ITEMS
from stream_workers.dead_letters import dead_letter
from stream_workers.handlers.item_stage import ItemStage
from stream_workers.handlers.signals import Signals, decode_signals
from stream_workers.pipeline import Batch, Pipeline
from stream_workers.services import Outgoing, Services

_TRENDING_SECONDS: Final = 0.5
_MOST_CATEGORIES: Final = 500  # of one trending pass: a bound on its time; the others come with their items' next events


class ItemPipeline(Pipeline):
    """One item partition."""

    def __init__(self, partition: int, services: Services) -> None:
        super().__init__(partition, ITEM_STAGE_TOPICS, services, services.settings.item_linger_ms)
        self._stage = ItemStage(partition, services.models, {})
        self._trending_due: float | None = None

    def _watermarks_key(self) -> bytes:
        return item_watermarks_key(self.partition)

    async def _restart(self, writer: PartitionWriter) -> None:
        waiting = self._stage.touched_items()  # not in the stored lists yet
        # Not the marks of our own topics: an idle flush writes the stage's marks, and those would be the ones of the start by then.
        sources = {name: offset for name, offset in writer.watermarks.items() if name not in self.topics}
        self._stage = ItemStage(self.partition, self._services.models, sources)
        leaders = list(dict.fromkeys([*await self._stored_leaders(trending_key(self.partition)), *waiting]))
        await self._load(leaders)
        self._stage.lead(leaders)

    async def apply(self, batch: Batch, writer: PartitionWriter) -> None:
        """See `Pipeline.apply`."""
        signals, letters = self._decode(batch, writer)
        await self._services.producer.send(letters)
        await self._load(self._stage.missing(signals))
        before = self._stage.applied
        self._stage.apply(signals)
        await self._commit(writer, batch.watermarks())
        self._services.counters.signals += self._stage.applied - before
        self._services.counters.dead_letters += len(letters)

    async def _idle(self, writer: PartitionWriter) -> None:
        await self.flush(writer)

    async def _finish(self, writer: PartitionWriter) -> None:
        if self._trending_due is not None:
            self._trending_due = 0.0
            await self.flush(writer)

    async def flush(self, writer: PartitionWriter) -> None:
        """Commit what waits in memory."""
        await self._commit(writer, {})

    def _idle_seconds(self) -> float:
        probe = super()._idle_seconds()
        return probe if self._trending_due is None else min(probe, max(0.0, self._trending_due - time.monotonic()))

    async def _commit(self, writer: PartitionWriter, watermarks: dict[str, int]) -> None:
        puts = self._stage.changes()
        now = time.monotonic()
        due = self._trending_due is not None and now >= self._trending_due
        if due:
            puts |= await self._trending()
        await writer.commit(Writes(puts, (), self._stage.watermarks | watermarks))
        if due:
            self._trending_due = None
            self._stage.shrink()
        elif self._trending_due is None and puts:
            self._trending_due = now + _TRENDING_SECONDS

    def _decode(self, batch: Batch, writer: PartitionWriter) -> tuple[list[Signals], list[Outgoing]]:
        signals, letters = [], []
        for topic, records in batch.records.items():
            for record in records:
                if record.offset <= writer.watermarks.get(topic, -1):
                    continue
                try:
                    if topic == ITEM_SIGNALS:
                        signals.append(decode_signals(record.value))
                    elif topic == ITEMS:
                        _check_item(record)
                except InvalidEvent as error:
                    letters.append(dead_letter(record, error, self._services.clock_ms()))
        return signals, letters

    async def _load(self, items: list[str]) -> None:
        """Bring items into memory from the store."""
        self._stage.load(items, await self._services.store.read([item_key(self.partition, item) for item in items]))

    async def _trending(self) -> dict[bytes, bytes]:
        """Writes of the trending lists, for the whole partition and for each category with events."""
        categories: dict[str, list[str]] = {}
        for item in self._stage.touched_items():
            for category in self._services.catalogue.categories(item):
                if category in categories or len(categories) < _MOST_CATEGORIES:
                    categories.setdefault(category, []).append(item)
        for category, items in categories.items():
            leaders = self._stage.leaders_of(category)
            if leaders is None:
                leaders = await self._stored_leaders(category_trending_key(self.partition, category))
            items.extend(leaders)
        await self._load(self._stage.missing_items(item for items in categories.values() for item in items))
        return self._stage.trending(categories)

    async def _stored_leaders(self, key: bytes) -> list[str]:
        blob = (await self._services.store.read([key]))[0]
        if blob is None:
            return []
        try:
            return unpack_trending(blob).items
        except CorruptBlob:  # a derived list: it fills again with the next events
            return []


def _check_item(record: ConsumerRecord) -> None:
    """The catalogue itself is followed elsewhere; here bad records find their way to the dead letters."""
    if record.value is None:
        if not record.key:
            raise InvalidEvent("invalid", "a null value needs the item id as its key")
        return
    item = parse_item(record.value)
    if record.key is not None and record.key != item.item_id.encode():
        raise InvalidEvent("invalid", f"key {record.key[:60]!r} is not the item id {item.item_id!r}")
