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
_POLL_MS: Final = 200


class CatalogueFollower:
    """Follows `items` in the background and comes back after failures; a record that is no item is skipped (the worker dead-letters it).

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
        self.caught_up = asyncio.Event()

    async def start(self) -> None:
        """Begin to follow; returns at once."""
        self._task = asyncio.create_task(self._follow(), name="catalogue-follower")

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
                await self._read(consumer)
            except (KafkaError, OSError) as error:
                log.warning("catalogue: %s: %s; trying again", type(error).__name__, error)
            finally:
                await consumer.stop()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        """Read from where the last connection ended."""
        assigned = sorted(consumer.assignment())
        for partition, offset in self._positions.items():
            consumer.seek(partition, offset)
        ends = await consumer.end_offsets(assigned)
        while True:
            if not self.caught_up.is_set():
                here = [await consumer.position(partition) >= ends[partition] for partition in assigned]
                if all(here):
                    self.caught_up.set()
            for partition, records in (await consumer.getmany(timeout_ms=_POLL_MS, max_records=2000)).items():
                self._apply(records)
                self._positions[partition] = records[-1].offset + 1
            await asyncio.sleep(0)

    def _apply(self, records: list[object]) -> None:
        for record in records:
            try:
                self._catalogue.apply(record.key, record.value)  # type: ignore[attr-defined]
            except InvalidEvent as error:
                log.debug("catalogue: skipped a record: %s", error)
