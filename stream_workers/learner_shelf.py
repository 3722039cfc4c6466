"""The learner's state in the store: taken over at its start, committed together with what it contains of the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from feature_store.keys import MODEL_INDEX, MODEL_PREFIX, SCOREBOARD, learner_watermarks_key
from feature_store.model_pages import Index, PageWriter
from feature_store.packing import CorruptBlob
from feature_store.page_replica import Replica, reads
from feature_store.port import FeatureStore, PartitionWriter, Writes
from schemas.errors import InvalidSettings
from stream_workers.handlers.learning_stage import LearningStage

log = logging.getLogger(__name__)


class Packed(NamedTuple):
    """A commit: its writes, the events that the stage had learnt, bytes, and the seconds that packing took."""

    writes: Writes
    events: int
    bytes: int
    seconds: float


class LearnerShelf:
    """The only writer of the models' pages, fenced by the learner's watermarks.

    Make one with `open`. After an error of `commit` the memory is ahead of the store: throw shelf and stage away and open again.

    Attributes:
        stage: the models, at first as stored or new. marks: what of the log is stored. events: how many are.
    """

    def __init__(
        self, stage: LearningStage, marks: Mapping[str, int], pages: PageWriter, writer: PartitionWriter, stale: frozenset[bytes]
    ) -> None:
        self.stage = stage
        self.marks = dict(marks)
        self.events = stage.events
        self._pages = pages
        self._writer = writer
        self._stale = stale

    @classmethod
    async def open(cls, store: FeatureStore, new_stage: Callable[[], LearningStage], origin: str, now_ms: int) -> LearnerShelf:
        """Claim the watermarks and take over what is stored; where that is nothing or does not fit, begin anew from the log.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        writer = await store.claim(learner_watermarks_key())
        try:
            stored = await _read(store) if writer.watermarks else None
            if stored is not None and (stage := await asyncio.to_thread(_loaded, *stored, new_stage, origin)) is not None:
                pages = await asyncio.to_thread(PageWriter.resume, *stored)
                return cls(stage, writer.watermarks, pages, writer, frozenset())
            stale = frozenset([key async for keys in store.scan(MODEL_PREFIX) for key in keys])
            nothing = dict.fromkeys(writer.watermarks, -1)  # so that no old mark outlives the models it was for
            return cls(await asyncio.to_thread(new_stage), nothing, PageWriter(now_ms, origin), writer, stale)
        except BaseException:
            await writer.close()
            raise

    async def commit(self, marks: Mapping[str, int], now_ms: int) -> None:
        """Store the stage, and that it contains the log up to these marks.

        Raises:
            Fenced, StoreUnavailable: see `PartitionWriter.commit`.
        """
        await self.write(await asyncio.to_thread(self.pack, marks, now_ms))

    def pack(self, marks: Mapping[str, int], now_ms: int) -> Packed:
        """What `commit` writes. Nothing may be learnt meanwhile, but while it is on its way the stage may go on."""
        started = time.monotonic()
        stage = self.stage
        changes = self._pages.changes(stage.state(), stage.events, now_ms)
        puts = changes.puts | {SCOREBOARD: orjson.dumps(stage.report(now_ms))}
        deletes = changes.deletes | (self._stale - puts.keys())
        writes = Writes(puts, deletes, {**self.marks, **marks})
        return Packed(writes, stage.events, changes.bytes, time.monotonic() - started)

    async def write(self, packed: Packed) -> None:
        """Store what was packed, in its order. Raises as `commit`."""
        await self._writer.commit(packed.writes)
        self.marks.update(packed.writes.watermarks)
        self.events = packed.events
        self._stale = frozenset()

    async def probe(self) -> None:
        """An empty commit, which notices a flushed store or another learner. Raises as `commit`."""
        await self._writer.commit(Writes())

    async def close(self) -> None:
        """Give the watermarks back."""
        await self._writer.close()


async def _read(store: FeatureStore) -> tuple[Index, dict[str, NDArray[Any]]] | None:
    """What is stored; None (and a line in the log) if it is not whole."""
    replica = Replica()
    blob = (await store.read([MODEL_INDEX]))[0]
    if blob is None:
        return None
    try:
        wanted = replica.wanted(blob)
    except CorruptBlob as error:
        log.warning("learner: %s; learning everything again from the log", error)
        return None
    blobs: list[bytes | None] = []
    for keys in reads(wanted):
        blobs += await store.read(keys)
    if not replica.take(blobs) or replica.index is None:
        log.warning("learner: %s; learning everything again from the log", "; ".join(replica.faults[:3]))
        return None
    return replica.index, replica.state


def _loaded(
    index: Index, state: Mapping[str, NDArray[Any]], new_stage: Callable[[], LearningStage], origin: str
) -> LearningStage | None:
    """The stored models in memory; None (and a line in the log) if they are of other settings or another version."""
    if index.origin != origin:
        log.warning("learner: the stored models have other settings; learning everything again from the log")
        return None
    stage = new_stage()
    try:
        stage.load({name: np.array(array) for name, array in state.items()})
    except (InvalidSettings, ValueError, KeyError) as error:
        log.warning("learner: the stored models do not fit (%s); learning everything again from the log", error)
        return None
    return stage
