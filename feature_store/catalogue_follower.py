"""Keeps a `Catalogue` in step with the compacted `items` topic: each process reads all of it, outside any consumer group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from feature_store.catalogue import Catalogue
from schemas.errors import InvalidEvent
from schemas.topics import ITEMS

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0
_POLL_MS: Final = 100
_REACH_SECONDS: Final = 2.0


class CatalogueFollower:
    """Follows `items` in the background and comes back after failures; a record that is no item is skipped (the worker dead-letters
    it).

    Args:
        kafka: bootstrap servers.
        catalogue: filled in place.

    Attributes:
        caught_up: set once everything that was in the topic at the start has been applied.
    """

    def __init__(self, kafka: str, catalogue: Catalogue) -> None:
        self._kafka = kafka
        self._catalogue = catalogue
        self._task: asyncio.Task[None] | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._moved = asyncio.Condition()
        self._reached_ms = 0
        self.caught_up = asyncio.Event()

    async def start(self) -> None:
        """Begin to follow; returns at once."""
        self._task = asyncio.create_task(self._follow(), name="catalogue-follower")

    async def reach(self, log_time_ms: int, now_ms: int) -> None:
        """Wait until every record that was in the topic at this time is applied; gives up after two seconds.

        Args:
            log_time_ms: when the log took in what is to be joined with the catalogue.
            now_ms: the clock.
        """
        if self._reached_ms >= log_time_ms or self._consumer is None:
            return
        try:
            async with asyncio.timeout(_REACH_SECONDS):
                ends = await self._consumer.end_offsets(self._consumer.assignment())
                async with self._moved:
                    await self._moved.wait_for(lambda: self._is_past(ends))
                self._reached_ms = now_ms
        except (TimeoutError, KafkaError) as error:
            log.warning("catalogue: not up to date: %s", error or "timed out")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _follow(self) -> None:
        while True:
            # Without a group a consumer gets all partitions of its topics.
            consumer = AIOKafkaConsumer(
                ITEMS, bootstrap_servers=self._kafka, group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=_POLL_MS
            )
            try:
                await consumer.start()
                self._consumer = consumer
                await self._read(consumer)
            except (KafkaError, OSError) as error:
                log.warning("catalogue: %s: %s; trying again", type(error).__name__, error)
            finally:
                self._consumer = None
                await consumer.stop()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        """Read from where the last connection ended."""
        for partition, offset in self._positions.items():
            consumer.seek(partition, offset)
        ends = await consumer.end_offsets(consumer.assignment())
        while True:
            for records in (await consumer.getmany(timeout_ms=_POLL_MS, max_records=2000)).values():
                self._apply(records)
            async with self._moved:
                self._positions = {partition: await consumer.position(partition) for partition in ends}
                self._moved.notify_all()
            if self._is_past(ends):
                self.caught_up.set()

    def _is_past(self, ends: dict[TopicPartition, int]) -> bool:
        """Whether everything before these offsets was read."""
        return all(self._positions.get(partition, 0) >= end for partition, end in ends.items())

    def _apply(self, records: list[object]) -> None:
        for record in records:
            try:
                self._catalogue.apply(record.key, record.value)  # type: ignore[attr-defined]
            except InvalidEvent as error:
                log.debug("catalogue: skipped a record: %s", error)
