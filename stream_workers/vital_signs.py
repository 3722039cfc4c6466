"""Heartbeats of a worker, the expiry of idle users, and the watch over consumers that stop silently."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any, Final

import numpy as np
import orjson

from feature_store.keys import worker_key
from feature_store.version_follower import VersionFollower
from schemas.errors import StoreUnavailable
from stream_workers.layout import check_layout
from stream_workers.models.deep.session_model import SessionModel
from stream_workers.runtime import Runtime
from stream_workers.services import Services

log = logging.getLogger(__name__)
_BEAT_SECONDS: Final = 1.0
_EXPIRE_SECONDS: Final = 10
_STALL_SECONDS: Final = 90.0
_SWEEP_SECONDS: Final = 3600.0
_DAY_SECONDS: Final = 86_400
Sessions = VersionFollower[SessionModel, SessionModel | None]


class VitalSigns:
    """Writes `worker:<id>` once a second and acts when the worker is not well.

    Args:
        worker_id: unique among all workers.
        app: the Faust app, for the consumer's offsets and to crash it.
        sessions: which version of the session model serves.
    """

    def __init__(self, worker_id: str, app: Any, services: Services, runtime: Runtime, sessions: Sessions) -> None:
        self._key = worker_key(worker_id)
        self._app = app
        self._services = services
        self._runtime = runtime
        self._sessions = sessions
        self._started = time.time()
        self._progress: tuple[int, float] = (-1, time.monotonic())
        self._swept = time.monotonic()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Beat until stopped."""
        while not self._stopping.is_set():
            try:
                await check_layout(self._services.store, self._services.settings)  # writes it again after a flush
                await self._services.store.put(self._key, orjson.dumps(self.report()), _EXPIRE_SECONDS)
                await self._sweep()
            except StoreUnavailable as error:
                log.warning("heartbeat: %s", error)
            await self._check()
            try:
                await asyncio.wait_for(self._stopping.wait(), _BEAT_SECONDS)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Stop beating and say so in the store."""
        self._stopping.set()
        try:
            await self._services.store.put(self._key, b"{}", 1)
        except StoreUnavailable as error:
            log.debug("last heartbeat: %s", error)

    def report(self) -> dict[str, Any]:
        """The heartbeat's value."""
        counters = self._services.counters
        effects = np.array(counters.effects_ms or [0.0])
        return {
            "pid": os.getpid(),
            "started_at": self._started,
            "lag": self.lag(),
            "partitions": sorted({pipeline.partition for pipeline in self._runtime.pipelines}),
            "events_total": counters.events,
            "duplicates_total": counters.duplicates,
            "dead_letters_total": counters.dead_letters,
            "forwarded_total": counters.forwarded,
            "signals_total": counters.signals,
            "recoveries_total": counters.recoveries,
            "effect_ms": {"p50": float(np.percentile(effects, 50)), "p99": float(np.percentile(effects, 99))},
            "catalogue_items": len(self._services.catalogue),
            "learner": self._runtime.learner.report(),
            "sessions": self._session_report(),
        }

    def _session_report(self) -> dict[str, Any]:
        """The version whose states are kept (null: none), events that moved one, states made from a history, versions refused."""
        model, counters = self._sessions.current, self._services.counters
        return {
            "model": model.name if model else None,
            "steps_total": counters.session_steps,
            "encodings_total": counters.session_encodings,
            "faults_total": self._sessions.faults,
        }

    def lag(self) -> int:
        """Records in the log that are not in the store yet, over all partitions of this worker."""
        total = 0
        for tp in self._app.consumer.assignment():
            end = self._app.consumer.highwater(tp)
            if end is not None:
                total += max(0, end - (self._runtime.committable(tp) or 0))
        return total

    async def _check(self) -> None:
        """Crash (the supervisor restarts) when a pipeline died or nothing moves although there is work."""
        for pipeline in self._runtime.pipelines:
            if pipeline.failed is not None:
                log.error("partition %d failed", pipeline.partition, exc_info=pipeline.failed)
                await self._app.crash(pipeline.failed)
        done = self._services.counters.events + self._services.counters.signals + self._services.counters.recoveries
        if done != self._progress[0] or self.lag() == 0:
            self._progress = (done, time.monotonic())
        elif time.monotonic() - self._progress[1] > _STALL_SECONDS:
            log.error("no progress for %.0f s with %d records waiting", _STALL_SECONDS, self.lag())
            await self._app.crash(RuntimeError("the consumer stopped silently"))

    async def _sweep(self) -> None:
        """Give idle users' keys an expiry. MSET clears it on every write, so a user only goes when no event comes for that long."""
        days = self._services.settings.user_ttl_days
        if not days or time.monotonic() - self._swept < _SWEEP_SECONDS:
            return
        self._swept = time.monotonic()
        for prefix in (b"u:{", b"p:{", b"s:{"):
            async for keys in self._services.store.scan(prefix):
                await self._services.store.expire_unset(keys, days * _DAY_SECONDS)
