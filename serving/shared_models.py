"""The learner's models in one of several API processes: views of the memory that they share, no copy.

A process of its own follows the learner and writes each commit as a version (`serving/snapshot_writer.py`). Here a new version is
taken in a thread within milliseconds and takes the place of the one before, so that an answer is made by one version alone and no
request waits. A process keeps for itself only what Python must have: the ids, once for all versions, and one working memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from feature_store.page_format import Index
from feature_store.shared_slots import Array, SlotReader, Slots, Snapshot
from schemas.errors import InvalidSettings
from serving.followed_model import FollowedModel, extended
from serving.snapshot_writer import index_of
from stream_workers.models.context_view import ContextView
from stream_workers.models.online.context_popularity import PREFIX
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.scoring_bank import ScoringBank
from stream_workers.models.table_view import KnownIds, TableView
from stream_workers.models.world_views import as_state

log = logging.getLogger(__name__)
_SECONDS: Final = 0.02  # a look costs a microsecond


class SharedModels:
    """The newest version in the slots.

    Args:
        slots: where the versions are written.
        bank: an empty bank with the learner's settings.
        note: is told how many seconds after it was announced a version takes the place of another here.

    Attributes:
        current, index: as of `LearnerModels`. seconds: how often to refresh.
    """

    seconds = _SECONDS

    def __init__(self, slots: Slots, bank: ScoringBank, note: Callable[[float], None]) -> None:
        self._reader = SlotReader(slots)
        self._bank = bank
        self._note = note
        self._tables: dict[str, IdTable] = {}
        self.current: FollowedModel | None = None
        self.index: Index | None = None
        self._slots = slots
        self._faults = 0

    @property
    def faults(self) -> int:
        """Commits of the learner that were not written, and versions that could not be used here."""
        return self._slots.faults + self._faults

    async def refresh(self) -> None:
        """Take over the newest version. One that cannot be used is said and counted, and the one before stays."""
        if not self._reader.behind:
            return
        try:
            await asyncio.to_thread(self._take_over)
        except (InvalidSettings, ValueError, KeyError) as error:
            self._faults += 1
            log.warning("models: %s; going on with %s", error, self.current.name if self.current else "none")

    def _take_over(self) -> None:
        snapshot = self._reader.take()
        if snapshot is None:
            return
        before, index = self.current, index_of(snapshot.about)
        items, users = (self._view(snapshot.arrays, name) for name in ("items", "users"))
        self._bank = self._bank.over(snapshot.arrays, items, users)
        model = FollowedModel(self._bank, index.commit, _contexts(snapshot), before.lock if before else None)
        if before is None:
            model.warm_up()
        self.current, self.index = model, index
        if before is not None:  # the first has been there for as long as this process was not
            self._note(self._slots.age)

    def _view(self, arrays: Mapping[str, Array], name: str) -> TableView:
        """The ids of this version; a table is given up only where ids were taken out of it."""
        table = self._tables.get(name)
        if table is None or not extended(table, name, arrays):
            table = self._tables[name] = KnownIds.loaded(arrays, name)
        return TableView(table, len(table))


def _contexts(snapshot: Snapshot) -> ContextView | None:
    arrays = as_state(snapshot.arrays)
    found = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
    return ContextView(found) if found else None
