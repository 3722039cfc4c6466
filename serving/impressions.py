"""What was shown goes to Kafka, without ever making anybody wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from schemas.errors import KafkaUnavailable
from schemas.topics import IMPRESSIONS
from serving.event_log import EventLog, Record
from serving.metrics import Metrics

log = logging.getLogger(__name__)

BUFFERED: Final = 5000
_GATHER_SECONDS: Final = 0.05  # many impressions in one request to Kafka cost little more than one
_LARGEST_BYTES: Final = 256 * 1024  # a larger one could make Kafka refuse those sent with it
_DRAIN_SECONDS: Final = 2.0


class ImpressionLog:
    """A bounded buffer in front of the log; what does not fit or is not acknowledged is counted and given up."""

    def __init__(self, log: EventLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._waiting: asyncio.Queue[Record] = asyncio.Queue(BUFFERED)
        self._task: asyncio.Task[None] | None = None
        self._taken = True

    def add(self, user_id: str, value: bytes) -> None:
        """Take one impression (JSON), to be sent soon."""
        if self._waiting.full() or len(value) > _LARGEST_BYTES:
            self._metrics.impressions.labels("failed").inc()
            return
        self._waiting.put_nowait(Record(IMPRESSIONS, user_id.encode(), value))

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send_all(), name="impressions")

    async def stop(self) -> None:
        """Send what is buffered, within a few seconds, and end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._waiting.join()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _send_all(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            await asyncio.sleep(_GATHER_SECONDS)
            while not self._waiting.empty() and len(batch) < BUFFERED:
                batch.append(self._waiting.get_nowait())
            await self._send(batch)
            for _ in batch:
                self._waiting.task_done()

    async def _send(self, batch: list[Record]) -> None:
        try:
            await self._log.append(batch)
        except KafkaUnavailable as error:
            if self._taken:  # said once, not for every batch of an outage
                log.warning("impressions are not acknowledged: %s", error)
            self._taken = False
            self._metrics.impressions.labels("failed").inc(len(batch))
        else:
            self._taken = True
            self._metrics.impressions.labels("sent").inc(len(batch))
