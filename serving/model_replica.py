"""Follows the learner: a few times a second the changed pages of its models are fetched and become the models to rank with.

Two banks take turns. One answers requests and is not touched; the other is brought up to date in a thread and then takes its place,
so that an answer is made by one version alone and no request ever waits. What cannot be used (no store, damaged or missing pages,
models of another version) is said once and counted; the models that were there go on answering.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from feature_store.keys import JUDGE_ARRAYS, MODEL_INDEX
from feature_store.packing import CorruptBlob
from feature_store.page_format import Index
from feature_store.page_replica import Place, Replica, reads
from schemas.errors import InvalidSettings
from serving.followed_model import FollowedModel, bring_up, contexts_in
from serving.guarded_store import GuardedStore
from stream_workers.models.scoring_bank import ScoringBank

log = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 5.0
_RETRIES: Final = 3  # of a read between whose two steps the learner committed


@dataclass(frozen=True)
class _Held:
    """Models, and the index of the state that they hold."""

    model: FollowedModel
    index: Index


class ModelReplica:
    """The learner's models in this process.

    Args:
        store: where the learner writes.
        new_bank: an empty bank with the learner's settings.
        origin: of the models that such a bank takes over, see `stream_workers/models/online/origin.py`.

    Attributes:
        faults: refreshes that could not be used.
    """

    def __init__(self, store: GuardedStore, new_bank: Callable[[], ScoringBank], origin: str) -> None:
        self._store = store
        self._new_bank = new_bank
        self._origin = origin
        self._pages = Replica(skip=JUDGE_ARRAYS)
        self._last_index = b""
        self._serving: _Held | None = None
        self._spare: _Held | None = None
        self._complaint = ""
        self.faults = 0

    @property
    def current(self) -> FollowedModel | None:
        """The models to rank with; None before the first have arrived."""
        return self._serving.model if self._serving else None

    @property
    def index(self) -> Index | None:
        """What the learner said of the current models."""
        return self._serving.index if self._serving else None

    async def refresh(self) -> None:
        """Take over what the learner has committed since.

        Raises:
            StoreUnavailable: everything stays as it was.
        """
        tried = None
        for _ in range(_RETRIES):
            blob = (await self._store.fetch([MODEL_INDEX], _PATIENCE_SECONDS))[0]
            if blob is None or blob == self._last_index:
                return
            try:
                done = await self._follow(blob)
            except (CorruptBlob, InvalidSettings, ValueError, KeyError) as error:
                self._last_index = blob
                self._complain(str(error))
                return
            if done:
                return
            if blob == tried or not self._pages.torn:  # no commit came in between: it is as bad as it looks
                self._complain(f"{len(self._pages.faults)} blobs cannot be used: {self._pages.faults[0]}")
                return
            tried = blob

    async def _follow(self, blob: bytes) -> bool:
        """Fetch what this index tells of and take it over; False: something is missing, or the learner committed meanwhile."""
        blobs = await self._fetched(await asyncio.to_thread(self._pages.wanted, blob))
        if not await asyncio.to_thread(self._pages.take, blobs):
            return False
        self._last_index = blob
        await asyncio.to_thread(self._take_over)
        return True

    async def _fetched(self, places: Iterable[Place]) -> list[bytes | None]:
        blobs: list[bytes | None] = []
        for keys in reads(places):
            blobs += await self._store.fetch(keys, _PATIENCE_SECONDS)
        return blobs

    def _take_over(self) -> None:
        """In a thread: bring the spare bank up to date, try it, and let it take its turn."""
        index = self._pages.index
        if index is None:
            return
        if index.origin != self._origin:
            raise InvalidSettings(f"the models are of {index.origin!r}, this process has {self._origin!r}")
        spare, self._spare = self._in_line(self._spare, index), None  # half brought up, it would be no good
        if spare is not None and not spare.model.retire():
            spare = None  # an answer is still being made with it
        bank = spare.model.bank if spare else self._new_bank()
        with spare.model.lock if spare else nullcontext():  # a request in a thread may still rank with it
            bring_up(bank, spare.index if spare else None, index, self._pages.state)
        model = FollowedModel(bank, index.commit, contexts_in(self._pages.state))
        if self._serving is None:
            model.warm_up()
        self._spare, self._serving = self._in_line(self._serving, index), _Held(model, index)
        if self._complaint:
            log.warning("models: followed again, commit %d with %d events", index.commit, index.events)
            self._complaint = ""

    def _in_line(self, held: _Held | None, index: Index) -> _Held | None:
        """What is held, unless it is of commits that the store has lost."""
        return held if held is not None and index.goes_on_from(held.index) else None

    def _complain(self, why: str) -> None:
        self.faults += 1
        if why != self._complaint:
            log.warning("models: %s; going on with %s", why, self.current.name if self.current else "none")
            self._complaint = why
