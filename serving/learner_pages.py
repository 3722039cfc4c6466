"""Reads what the learner commits: a few times a second the changed pages of its models are fetched and handed on, one whole commit
at a time. What cannot be used (no store, damaged or missing pages, models of another version) is said once and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from feature_store.keys import JUDGE_ARRAYS, MODEL_INDEX
from feature_store.packing import CorruptBlob
from feature_store.page_format import Index
from feature_store.page_replica import Place, Replica, reads
from schemas.errors import InvalidSettings
from serving.followed_model import State
from serving.guarded_store import GuardedStore

log = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 5.0
_RETRIES: Final = 3  # of a read between whose two steps the learner committed


class LearnerPages:
    """The learner's commits.

    Args:
        store: where the learner writes.
        origin: of the models that are wanted, see `stream_workers/models/online/origin.py`.
        take_over: is called in a thread with every new commit; may refuse it with InvalidSettings.

    Attributes:
        faults: commits that could not be used.
    """

    def __init__(self, store: GuardedStore, origin: str, take_over: Callable[[Index, State], None]) -> None:
        self._store = store
        self._origin = origin
        self._take_over = take_over
        self._pages = Replica(skip=JUDGE_ARRAYS)
        self._last_index = b""
        self._taken = "none"
        self._complaint = ""
        self.faults = 0

    async def refresh(self) -> None:
        """Hand on what the learner has committed since.

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
        """Fetch what this index tells of and hand it on; False: something is missing, or the learner committed meanwhile."""
        blobs = await self._fetched(await asyncio.to_thread(self._pages.wanted, blob))
        if not await asyncio.to_thread(self._pages.take, blobs):
            return False
        self._last_index = blob
        await asyncio.to_thread(self._hand_on)
        return True

    async def _fetched(self, places: Iterable[Place]) -> list[bytes | None]:
        blobs: list[bytes | None] = []
        for keys in reads(places):
            blobs += await self._store.fetch(keys, _PATIENCE_SECONDS)
        return blobs

    def _hand_on(self) -> None:
        index = self._pages.index
        if index is None:
            return
        if index.origin != self._origin:
            raise InvalidSettings(f"the models are of {index.origin!r}, this process has {self._origin!r}")
        self._take_over(index, self._pages.state)
        self._taken = f"commit {index.commit}"
        if self._complaint:
            log.warning("models: followed again, commit %d with %d events", index.commit, index.events)
            self._complaint = ""

    def _complain(self, why: str) -> None:
        self.faults += 1
        if why != self._complaint:
            log.warning("models: %s; going on with %s", why, self._taken)
            self._complaint = why
