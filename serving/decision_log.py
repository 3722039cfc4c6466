"""What every request decided goes to the store, without ever making anybody wait for it, and can be asked for later."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NamedTuple

from feature_store.decision_store import DecisionRecord, DecisionStore
from feature_store.packing import CorruptBlob
from schemas.errors import StoreUnavailable
from serving.answers import Recommendations
from serving.decision import Decision
from serving.decision_record import Record, pack, record_of, unpack
from serving.metrics import Metrics
from serving.outbox import Outbox
from serving.plan import filters_of
from serving.steering import Steering

log = logging.getLogger(__name__)

BUFFERED: Final = 500  # a decision in memory holds the arrays of its candidates, some 50 kB
_GATHER_SECONDS: Final = 0.1
_AGAIN_SECONDS: Final = 20.0  # by then every process has heard that somebody was forgotten


class _Decided(NamedTuple):
    decision: Decision
    answer: Recommendations
    viewer: str
    now_ms: int


class DecisionLog:
    """A bounded buffer in front of the store; what does not fit, or is not taken, is counted and given up.

    Args:
        store: None: nothing is kept.
        steering: tells which rule an item did not meet.
    """

    def __init__(self, store: DecisionStore | None, steering: Steering, metrics: Metrics) -> None:
        self._store = store
        self._steering = steering
        self._forgetting: set[asyncio.Task[None]] = set()
        self._outbox: Outbox[_Decided] = Outbox("decision log", BUFFERED, _GATHER_SECONDS, self._keep, metrics.decisions)

    @property
    def kept(self) -> bool:
        """Whether decisions are kept at all."""
        return self._store is not None

    def add(self, decision: Decision, answer: Recommendations, viewer: str, now_ms: int) -> None:
        """Take a decision, to be kept soon."""
        if self._store is not None:
            self._outbox.add(_Decided(decision, answer, viewer, now_ms))

    async def find(self, request_id: str) -> Record | None:
        """What a request decided; None: it is not known, or no longer.

        Raises:
            StoreUnavailable: the store cannot be asked.
        """
        if self._store is None:
            return None
        await self._outbox.settle()  # somebody may ask right after their own request
        blob = await self._store.read(request_id)
        try:
            return None if blob is None else unpack(blob)
        except CorruptBlob as error:
            log.warning("%s", error)
            return None

    async def forget(self, user_id: str) -> None:
        """Take everything out that is about somebody; and once more a little later, what was decided meanwhile.

        Raises:
            StoreUnavailable: it may still be there.
        """
        if self._store is not None:
            await self._outbox.settle()
            await self._store.forget(user_id)
            again = asyncio.create_task(self._forget_later(self._store, user_id), name="forget-again")
            self._forgetting.add(again)
            again.add_done_callback(self._forgetting.discard)

    def start(self) -> None:
        """Begin to keep."""
        if self._store is not None:
            self._outbox.start()

    async def stop(self) -> None:
        """Keep what is buffered, within a few seconds, and end."""
        for task in list(self._forgetting):
            task.cancel()
        await self._outbox.stop()
        if self._store is not None:
            await self._store.close()

    async def _forget_later(self, store: DecisionStore, user_id: str) -> None:
        await asyncio.sleep(_AGAIN_SECONDS)
        try:
            await store.forget(user_id)
        except StoreUnavailable as error:
            log.warning("decision log: records of a forgotten user may stay until their time is over: %s", error)

    async def _keep(self, batch: list[_Decided]) -> None:
        if self._store is None:
            return
        records = []
        for one in batch:
            records.append(self._record(one))
            await asyncio.sleep(0)  # requests go first
        packed = await asyncio.to_thread(lambda: [pack(record) for record in records])
        rows = [DecisionRecord(one.answer["request_id"], one.viewer, blob) for one, blob in zip(batch, packed, strict=True)]
        await self._store.append(rows, batch[-1].now_ms)

    def _record(self, one: _Decided) -> Record:
        decision, filters = one.decision, filters_of(one.decision.query, one.decision.plan.surface)
        refused = self._steering.refusals(decision.withheld, filters, decision.state, one.now_ms)
        return record_of(decision, one.answer, refused, one.viewer, one.now_ms)
