"""Follows the learner in a process that is alone: its commits become the models to rank with.

Two banks take turns. One answers requests and is not touched; the other is brought up to date in a thread and then takes its place,
so that an answer is made by one version alone and no request ever waits. Where several processes serve, one writes the commits into
memory that all of them share (`serving/snapshot_writer.py`) and the others read them there (`serving/shared_models.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from feature_store.page_format import Index
from serving.followed_model import FollowedModel, State, bring_up, contexts_in
from serving.guarded_store import GuardedStore
from serving.learner_pages import LearnerPages
from stream_workers.models.scoring_bank import ScoringBank

_SECONDS: Final = 0.25


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
        seconds: how often to refresh.
    """

    seconds = _SECONDS

    def __init__(self, store: GuardedStore, new_bank: Callable[[], ScoringBank], origin: str) -> None:
        self._new_bank = new_bank
        self._pages = LearnerPages(store, origin, self._take_over)
        self._serving: _Held | None = None
        self._spare: _Held | None = None

    @property
    def current(self) -> FollowedModel | None:
        """The models to rank with; None before the first have arrived."""
        return self._serving.model if self._serving else None

    @property
    def index(self) -> Index | None:
        """What the learner said of the current models."""
        return self._serving.index if self._serving else None

    @property
    def faults(self) -> int:
        """Refreshes that could not be used."""
        return self._pages.faults

    async def refresh(self) -> None:
        """Take over what the learner has committed since. What cannot be used leaves the models that were there.

        Raises:
            StoreUnavailable: everything stays as it was.
        """
        await self._pages.refresh()

    def _take_over(self, index: Index, state: State) -> None:
        """In a thread: bring the spare bank up to date, try it, and let it take its turn."""
        spare, self._spare = _in_line(self._spare, index), None  # half brought up, it would be no good
        if spare is not None and not spare.model.retire():
            spare = None  # an answer is still being made with it
        bank = spare.model.bank if spare else self._new_bank()
        with spare.model.lock if spare else nullcontext():  # a request in a thread may still rank with it
            bring_up(bank, spare.index if spare else None, index, state)
        model = FollowedModel(bank, index.commit, contexts_in(state))
        if self._serving is None:
            model.warm_up()
        self._spare, self._serving = _in_line(self._serving, index), _Held(model, index)


def _in_line(held: _Held | None, index: Index) -> _Held | None:
    """What is held, unless it is of commits that the store has lost."""
    return held if held is not None and index.goes_on_from(held.index) else None
