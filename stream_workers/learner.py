"""The learner: one in the whole system, run by the worker that owns user partition 0. It feeds everything that happened to one bank
of models and commits what they learnt.

Whether this worker is the learner is decided by Kafka's group protocol; that only one writes, by the store's fence. Nothing here
can harm ingestion: whatever goes wrong is logged, and the learner begins again from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from schemas.errors import Fenced, KafkaUnavailable, StoreUnavailable
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.learner_feed import LearnerFeed
from stream_workers.learner_shelf import LearnerShelf
from stream_workers.services import Services

log = logging.getLogger(__name__)
_CHUNK_EVENTS: Final = 2000
_WAIT_MS: Final = 20
_COMMIT_SECONDS: Final = 0.25
_BYTES_PER_SECOND: Final = 16 * 1024 * 1024
_BUSY_SHARE: Final = 4.0  # a commit that takes t is followed by at least this many t without one
_PROBE_SECONDS: Final = 2.0
_BACKOFF_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_STOP_SECONDS: Final = 5.0


class Learner:
    """Learns in the background between `start` and `stop`.

    Args:
        services: shared parts of the worker.
        new_stage: makes untrained models; called in a thread.
        origin: what stored models must belong to, see `models.online.origin`.
        new_log: makes a consumer of the log, see `learner_feed.new_consumer`.
        ready: returns when the models can learn.
    """

    def __init__(
        self,
        services: Services,
        new_stage: Callable[[], LearningStage],
        origin: str,
        new_log: Callable[[], AIOKafkaConsumer],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._services = services
        self._new_stage = new_stage
        self._origin = origin
        self._new_log = new_log
        self._ready = ready
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._shelf: LearnerShelf | None = None
        self._feed: LearnerFeed | None = None
        self._changed_items = services.catalogue.watch()
        self._committed_events = 0
        self._restarts = 0

    def start(self) -> None:
        """Begin to learn, if it does not already; returns at once."""
        if self._task is None:
            self._stopping.clear()
            self._task = asyncio.create_task(self._run(), name="learner")

    async def stop(self) -> None:
        """Commit what was learnt and stop, within a few seconds."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        _, pending = await asyncio.wait({task}, timeout=_STOP_SECONDS if self._shelf else 0.0)  # without one, nothing was learnt
        for late in pending:
            late.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await late

    def report(self) -> dict[str, Any] | None:
        """For the heartbeat: events learnt and stored, messages behind, restarts after errors; None: it does not run here."""
        if self._task is None:
            return None
        lag = self._feed.lag(self._shelf.marks) if self._feed and self._shelf else None
        return {"events": self._committed_events, "lag": lag, "restarts": self._restarts}

    async def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                await self._session()
            except (Fenced, StoreUnavailable, KafkaUnavailable) as error:
                log.warning("learner: %s; starting again from the store", error)
            except Exception:  # whatever it is, ingestion goes on
                log.exception("learner failed; starting again from the store")
            else:
                return
            self._restarts += 1
            attempt = 0 if time.monotonic() - started > _BACKOFF_SECONDS[-1] else attempt + 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)])

    async def _session(self) -> None:
        """From what is stored until told to stop.

        Raises:
            Fenced, StoreUnavailable, KafkaUnavailable: memory may be ahead of the store.
        """
        services, settings = self._services, self._services.settings
        await self._ready()
        async with contextlib.AsyncExitStack() as stack:
            shelf = await LearnerShelf.open(services.store, self._new_stage, self._origin, services.clock_ms())
            stack.push_async_callback(shelf.close)
            feed = LearnerFeed(self._new_log(), settings.partitions, shelf.marks, services.store)
            await feed.open()
            stack.push_async_callback(feed.close)
            stack.callback(self._forget_parts)
            self._shelf, self._feed, self._committed_events = shelf, feed, shelf.stage.events
            log.info("learner: started with %d events learnt", shelf.stage.events)
            self._changed_items.update(services.catalogue.item_ids())
            await self._learn(shelf, feed)

    def _forget_parts(self) -> None:
        self._shelf = self._feed = None

    async def _learn(self, shelf: LearnerShelf, feed: LearnerFeed) -> None:
        commit_at = probe_at = time.monotonic()
        described = False  # since the last commit
        while not self._stopping.is_set():
            described |= await self._describe(shelf.stage)
            merged = await feed.take(_CHUNK_EVENTS)
            if merged is not None:
                for drift in await asyncio.to_thread(shelf.stage.apply, merged):
                    log.warning("learner: the blend's hit rate changed from %(before).3f to %(after).3f", drift)
            await feed.fill(_WAIT_MS if merged is None else 0)
            now = time.monotonic()
            if (described or feed.marks != shelf.marks) and now >= commit_at:
                described = False
                commit_at = now + await self._commit(shelf, feed)
                probe_at = now + _PROBE_SECONDS
            elif now >= probe_at:
                await shelf.probe()
                await feed.check()
                probe_at = now + _PROBE_SECONDS
        if feed.marks != shelf.marks:
            await self._commit(shelf, feed)

    async def _commit(self, shelf: LearnerShelf, feed: LearnerFeed) -> float:
        """Commit; returns the seconds to wait before the next."""
        started = time.monotonic()
        written = await shelf.commit(feed.marks, self._services.clock_ms())
        self._committed_events = shelf.stage.events
        return max(_COMMIT_SECONDS, written / _BYTES_PER_SECOND, _BUSY_SHARE * (time.monotonic() - started))

    async def _describe(self, stage: LearningStage) -> bool:
        """Hand on what changed in the catalogue; False: nothing has."""
        if not self._changed_items:
            return False
        catalogue = self._services.catalogue
        entries = [(item, catalogue.get(item)) for item in self._changed_items]
        self._changed_items.clear()
        known = [(item, entry.categories, entry.dated_title) for item, entry in entries if entry is not None]
        await asyncio.to_thread(stage.describe, known)
        return True
