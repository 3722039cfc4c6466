"""What runs beside the requests: trending lists, what is made of the catalogue, the learner's models, the workers' heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from time import monotonic
from typing import Any, Final, Protocol

from feature_store.keys import WORKER_PREFIX
from schemas.errors import StoreUnavailable
from serving.content_source import ContentSource
from serving.followed_model import LearnerModels
from serving.guarded_store import GuardedStore
from serving.metrics import Metrics
from serving.shelf import Shelf
from serving.trending_lists import TrendingLists

log = logging.getLogger(__name__)

_LISTS_SECONDS: Final = 0.25
_CONTENT_SECONDS: Final = 0.1
_VERSIONS_SECONDS: Final = 1.0
_SHELF_SECONDS: Final = 1.0  # how soon a growing catalogue is summarised
_SHELF_LONG_SECONDS: Final = 30.0  # how soon a change that leaves its size alone is
_HEARTBEAT_SECONDS: Final = 5.0
_HEARTBEAT_PATIENCE: Final = 2.0


class Refreshes(Protocol):
    """Can be brought up to date, in a thread (`VersionFollower`)."""

    def refresh(self) -> bool:
        """Look, and take over what has changed."""


class Background:
    """Five loops that live as long as the app."""

    def __init__(
        self, lists: TrendingLists, shelf: Shelf, models: LearnerModels, content: ContentSource, *published: Refreshes
    ) -> None:
        self._lists = lists
        self._shelf = shelf
        self._models = models
        self._content = content
        self._published = published
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """One refresh now, so that the first request finds something, then again and again. The models come when they come."""
        await self.refresh()
        self._tasks = [
            asyncio.create_task(self._refresh_lists(), name="trending-lists"),
            asyncio.create_task(self._summarise_shelf(), name="catalogue-summary"),
            asyncio.create_task(self._follow_models(), name="model-replica"),
            asyncio.create_task(self._follow_catalogue(), name="content-neighbours"),
            asyncio.create_task(self._follow_versions(), name="published-models"),
        ]
        for task in self._tasks:
            task.add_done_callback(_report)

    async def stop(self) -> None:
        """End the loops."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def refresh(self) -> None:
        """Bring everything up to date once; without a store the lists stay as they were."""
        await self._shelf.summarise()
        await self._content.refresh()
        with contextlib.suppress(StoreUnavailable):
            await self._lists.refresh()

    async def _refresh_lists(self) -> None:
        while True:
            await asyncio.sleep(_LISTS_SECONDS)
            with contextlib.suppress(StoreUnavailable):  # the guard has logged it, and requests know
                await self._lists.refresh()

    async def _follow_models(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self._models.refresh()
            await asyncio.sleep(self._models.seconds)

    async def _follow_catalogue(self) -> None:
        while True:
            await asyncio.sleep(_CONTENT_SECONDS)
            await self._content.refresh()

    async def _follow_versions(self) -> None:
        while True:
            for published in self._published:
                await asyncio.to_thread(published.refresh)
            await asyncio.sleep(_VERSIONS_SECONDS)

    async def _summarise_shelf(self) -> None:
        size, since = len(self._shelf), monotonic()
        while True:
            await asyncio.sleep(_SHELF_SECONDS)
            if len(self._shelf) != size or monotonic() - since > _SHELF_LONG_SECONDS:
                size, since = len(self._shelf), monotonic()
                await self._shelf.summarise()


def _report(task: asyncio.Task[None]) -> None:
    """A loop ends only when it is told to; anything else would leave the answers to grow stale in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("%s ended", task.get_name(), exc_info=task.exception())


class Heartbeats:
    """What the workers say of themselves, read when somebody asks for metrics, and not more often than every few seconds."""

    def __init__(self, store: GuardedStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._read_at = float("-inf")

    async def refresh(self) -> None:
        """Bring the metrics up to date; without a store they stay as they were."""
        if not self._store.answers or monotonic() - self._read_at < _HEARTBEAT_SECONDS:
            return
        self._read_at = monotonic()
        try:
            values = await self._store.values(WORKER_PREFIX, _HEARTBEAT_PATIENCE)
        except StoreUnavailable as error:
            log.info("heartbeats of the workers: %s", error)
            return
        self._metrics.note_workers([beat for beat in map(_heartbeat, values) if beat is not None])


def _heartbeat(value: bytes) -> dict[str, Any] | None:
    try:
        beat = json.loads(value)
    except ValueError:
        return None
    return beat if isinstance(beat, dict) else None
