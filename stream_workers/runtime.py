"""All pipelines of one worker: opened and closed with the partitions that Kafka assigns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from faust.types import TP

from schemas.errors import StoreUnavailable
from schemas.topics import ITEM_STAGE_TOPICS, USER_STAGE_TOPICS, VIEWS
from stream_workers.item_pipeline import ItemPipeline
from stream_workers.learner import Learner
from stream_workers.pipeline import Pipeline
from stream_workers.services import Services
from stream_workers.transport import FetchedRecords
from stream_workers.user_pipeline import UserPipeline

log = logging.getLogger(__name__)
_STAGES: Final[tuple[tuple[tuple[str, ...], Callable[[int, Services], Pipeline]], ...]] = (
    (USER_STAGE_TOPICS, UserPipeline),
    (ITEM_STAGE_TOPICS, ItemPipeline),
)
_LEARNERS_PARTITION: Final = TP(VIEWS, 0)  # who owns it is the one learner of the system
_RETRY_SECONDS: Final = 0.5


class Runtime:
    """The pipelines of the partitions that this worker owns now, and perhaps the learner. Implements `transport.Positions`."""

    def __init__(self, services: Services, learner: Learner) -> None:
        self._services = services
        self.learner = learner
        self._pipelines: dict[TP, Pipeline] = {}
        self._assigning = asyncio.Lock()
        self._stopped = False

    @property
    def pipelines(self) -> set[Pipeline]:
        """Every open pipeline, once."""
        return set(self._pipelines.values())

    async def assign(self, assigned: set[TP]) -> dict[TP, int]:
        """See `Positions`. Waits until the store answers: without it nothing could be applied anyway."""
        async with self._assigning:
            await self._close_all()
            while not self._stopped:  # a rebalance may still end after the stop has begun
                try:
                    return await self._open(assigned)
                except StoreUnavailable as error:
                    log.warning("waiting for the feature store: %s", error)
                    await self._close_all()
                    await asyncio.sleep(_RETRY_SECONDS)
            return {}

    def started(self, epochs: Mapping[TP, int]) -> None:
        """See `Positions`."""
        for tp, epoch in epochs.items():
            if tp in self._pipelines:
                self._pipelines[tp].started(tp.topic, epoch)

    def committable(self, tp: TP) -> int | None:
        """See `Positions`."""
        pipeline = self._pipelines.get(tp)
        return pipeline.committable(tp.topic) if pipeline else None

    async def offer(self, tp: TP, fetched: FetchedRecords) -> None:
        """Hand fetched records to their pipeline; records of a partition that is gone are dropped (its new owner reads them)."""
        pipeline = self._pipelines.get(tp)
        if pipeline is not None:
            await pipeline.offer(tp.topic, fetched)

    async def close(self) -> None:
        """Finish and give everything back."""
        async with self._assigning:
            await self._close_all()

    async def stop(self) -> None:
        """Finish, give everything back and take nothing any more."""
        self._stopped = True
        await self.close()

    async def _open(self, assigned: set[TP]) -> dict[TP, int]:
        positions: dict[TP, int] = {}
        for topics, stage in _STAGES:
            for partition in sorted({tp.partition for tp in assigned if tp.topic in topics}):
                pipeline = stage(partition, self._services)
                for topic in topics:
                    self._pipelines[TP(topic, partition)] = pipeline
                opened = await pipeline.open()
                positions.update({TP(topic, partition): offset for topic, offset in opened.items()})
        if _LEARNERS_PARTITION in assigned and self._services.settings.learner:
            self.learner.start()
        return {tp: offset for tp, offset in positions.items() if tp in assigned}

    async def _close_all(self) -> None:
        closing, self._pipelines = self.pipelines, {}
        await asyncio.gather(self.learner.stop(), *(pipeline.close() for pipeline in closing))
