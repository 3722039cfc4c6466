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
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from schemas.errors import Fenced, KafkaUnavailable, StoreUnavailable
from stream_workers.handlers.interaction_merge import Merged
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.learner_commits import LearnerCommits
from stream_workers.learner_feed import LearnerFeed
from stream_workers.learner_shelf import LearnerShelf
from stream_workers.learner_thread import StageThread
from stream_workers.services import Services

log = logging.getLogger(__name__)
_FIRST_PART: Final = 1000
_LARGEST_PART: Final = 8000
_SMALLEST_PART: Final = 250
_PART_SECONDS: Final = 0.2  # how long a part should take: commits wait for it, and it waits for the loop
_AHEAD: Final = 2  # parts that wait for the one that is being learnt
_WAIT_MS: Final = 20
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
        self._stored = 0
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
        if self._shelf is not None:
            self._stored = self._shelf.events
        lag = self._feed.lag(self._shelf.marks) if self._feed and self._shelf else None
        return {"events": self._stored, "lag": lag, "restarts": self._restarts}

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
            thread = StageThread()
            stack.callback(thread.close)
            commits = LearnerCommits(shelf, services.clock_ms, thread)
            stack.push_async_callback(commits.close)
            stack.callback(self._forget_parts)
            self._shelf, self._feed = shelf, feed
            log.info("learner: started with %d events learnt", shelf.stage.events)
            self._changed_items.update(services.catalogue.item_ids())
            await self._learn(shelf, feed, commits, thread)

    def _forget_parts(self) -> None:
        self._shelf = self._feed = None

    async def _learn(self, shelf: LearnerShelf, feed: LearnerFeed, commits: LearnerCommits, thread: StageThread) -> None:
        """Keep the thread of the models busy: what comes next is fetched and merged while they learn."""
        lessons: deque[asyncio.Future[float | None]] = deque()  # handed to the thread
        try:
            await self._teach(shelf, feed, commits, thread, lessons)
        finally:  # what is left after an error fails too, and nobody else asks
            thread.close()
            await asyncio.gather(*lessons, return_exceptions=True)

    async def _teach(
        self,
        shelf: LearnerShelf,
        feed: LearnerFeed,
        commits: LearnerCommits,
        thread: StageThread,
        lessons: deque[asyncio.Future[float | None]],
    ) -> None:
        events, marks = _FIRST_PART, feed.marks
        while not self._stopping.is_set():
            if changed := self._described():
                lessons.append(asyncio.wrap_future(thread.submit(shelf.stage.describe, changed)))
                commits.describe()
            while lessons and (lessons[0].done() or len(lessons) > _AHEAD):
                rate = await lessons.popleft()
                events = events if rate is None else _part_size(events, rate)
            rows = await feed.take(events)
            if rows is not None:
                marks = feed.marks
                lessons.append(asyncio.wrap_future(thread.submit(_learn_timed, shelf.stage, rows)))
            await feed.fill(_WAIT_MS if rows is None else 0)
            if await commits.turn(marks, behind=rows is not None and len(rows.users) == events):
                await feed.check()
        await asyncio.gather(*lessons)
        await commits.finish(marks)

    def _described(self) -> list[tuple[str, tuple[str, ...], str | None]]:
        """What changed in the catalogue since the last call."""
        if not self._changed_items:
            return []
        catalogue = self._services.catalogue
        entries = [(item, catalogue.get(item)) for item in sorted(self._changed_items)]
        self._changed_items.clear()
        return [(item, entry.categories, entry.dated_title) for item, entry in entries if entry is not None]


def _learn_timed(stage: LearningStage, rows: Merged) -> float:
    """Learn; returns the seconds for each event."""
    started = time.monotonic()
    for drift in stage.apply(rows):
        log.warning("learner: the blend's hit rate changed from %(before).3f to %(after).3f", drift)
    return (time.monotonic() - started) / len(rows.users)


def _part_size(now: int, seconds: float) -> int:
    """How many events to learn at a time, when each takes so long."""
    return max(_SMALLEST_PART, min(_LARGEST_PART, 2 * now, int(_PART_SECONDS / max(seconds, 1e-9))))
