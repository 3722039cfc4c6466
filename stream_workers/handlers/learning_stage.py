"""What the learner does with merged events, as pure code: rank a sample, judge the models by it, let them learn, keep the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from feature_store.keys import JUDGE_ARRAYS
from schemas.events import TYPE_WEIGHTS, EventType
from stream_workers.handlers.interaction_merge import Merged
from stream_workers.handlers.interactions import FORGET
from stream_workers.models.deep.bank_sources import BankSources
from stream_workers.models.online.bank import Sources
from stream_workers.models.online.columns import Interactions, Outcome
from stream_workers.models.online.context_popularity import PREFIX, ContextPopularity
from stream_workers.models.online.drift import DriftWatch
from stream_workers.models.online.ratings import Ratings
from stream_workers.models.online.scoreboard import Scoreboard

Array = NDArray[Any]
Json = dict[str, Any]
_POSITIVE: Final = np.array(TYPE_WEIGHTS) > 0
_COUNTERS: Final = "counters"  # events learnt, newest event time in ms
_BLEND: Final = "blend"


class Bank(Protocol):
    """The models (`models.online.bank.ModelBank`)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models, in the order of `Outcome.ranks`; one is "blend"."""

    sources: Sources | None

    def advance(self, batch: Interactions, ranked: NDArray[np.bool_]) -> Outcome:
        """Predict where ranked, then learn, event by event."""

    def describe(self, item_id: str, categories: Sequence[str] = (), title: str | None = None) -> None:
        """Take over what the catalogue says of an item."""

    def forget(self, user_id: str) -> None:
        """Forget a user."""

    def state(self) -> dict[str, Array]:
        """Every array by name; views."""

    def load(self, state: Mapping[str, Array]) -> None:
        """Take over a state. Raises InvalidSettings if it does not fit."""


class LearningStage:
    """The models and their judges.

    Args:
        bank: the models.
        sample: share of the events that are ranked.
        repeats: whether items that the user took before are ranked too (mode B), for the report.
        published: says which published batch models the blend takes candidates from now, and which stand in their shadow.

    Attributes:
        events: learnt so far. newest_event_at: event time of the newest, ms.
    """

    def __init__(
        self, bank: Bank, sample: float, repeats: bool, published: Callable[[], BankSources] = lambda: BankSources(())
    ) -> None:
        self._bank = bank
        self._sample = sample
        self._mode = "B" if repeats else "A"
        self._judges: dict[str, Scoreboard | DriftWatch | Ratings] = {}
        self._scoreboard, self._drift, self._ratings = Scoreboard(bank.names), DriftWatch(), Ratings()
        self._judges = {"scoreboard": self._scoreboard, "drift": self._drift, "ratings": self._ratings}
        self._contexts = ContextPopularity()
        self._published, self._sources = published, BankSources(())
        self._published_board = Scoreboard((_BLEND,))
        self.events = 0
        self.newest_event_at = 0

    def apply(self, merged: Merged) -> list[Json]:
        """Learn E rows in their order; returns the drifts that they showed."""
        found: list[Json] = []
        start = 0
        for end in [*np.flatnonzero(merged.types == FORGET).tolist(), len(merged.types)]:
            if end > start:
                found += self._learn(slice(start, end), merged)
            if end < len(merged.types):
                self._bank.forget(merged.users[end])
                self._ratings.forget(merged.users[end])
            start = end + 1
        return found

    def describe(self, items: Iterable[tuple[str, Sequence[str], str | None]]) -> None:
        """Tell the models what the catalogue says: item, categories, title."""
        for item, categories, title in items:
            self._bank.describe(item, categories, title)
            self._contexts.describe(item, categories)

    def state(self) -> dict[str, Array]:
        """Every array by name; views."""
        counters = np.array([self.events, self.newest_event_at], np.int64)
        judged = {
            f"{JUDGE_ARRAYS}{name}.{part}": array for name, judge in self._judges.items() for part, array in judge.state().items()
        }
        contexts = {PREFIX + name: array for name, array in self._contexts.state().items()}
        return {**self._bank.state(), **contexts, **judged, JUDGE_ARRAYS + _COUNTERS: counters}

    def load(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` gave.

        Raises:
            InvalidSettings, ValueError, KeyError: it is the state of other models; throw this stage away.
        """
        for name, judge in self._judges.items():
            judge.load(dict(_below(f"{JUDGE_ARRAYS}{name}.", state)))
        self._contexts.load(dict(_below(PREFIX, state)))
        self.events, self.newest_event_at = state[JUDGE_ARRAYS + _COUNTERS].tolist()
        self._bank.load({name: array for name, array in state.items() if not name.startswith(JUDGE_ARRAYS)})

    def report(self, at: int) -> Json:
        """The scoreboard's JSON. Arguments as of `Scoreboard.report`.

        `published`: the versions of batch models, those in the shadow too, and, for comparison, the blend, on what was ranked since
        they are there; not stored, so it begins anew with the process.
        """
        board, sources = self._published_board, self._sources
        published = {
            "models": board.report(at, 0, 0, 0, self._mode)["models"], "shadows": list(sources.shadows), "ranked": board.ranked
        } if sources.judged else None  # fmt: skip
        return self._scoreboard.report(
            at, self.newest_event_at, self.events, self._sample, self._mode, self._drift.events, self._ratings.report()
        ) | {"published": published}

    def _learn(self, rows: slice, merged: Merged) -> list[Json]:
        batch = Interactions(
            merged.users[rows], merged.items[rows], merged.types[rows], merged.values[rows], merged.undo[rows],
            merged.timestamps[rows], merged.contexts[rows],
        )  # fmt: skip
        self._follow_published()
        outcome = self._bank.advance(batch, self._ranked(merged.lots[rows], batch))
        self._scoreboard.add(outcome.only(self._scoreboard.names))
        if self._sources.judged:
            behind = outcome.names[len(self._scoreboard.names) :]
            self._published_board.add(outcome.only((_BLEND, *behind))._replace(names=self._published_board.names))
        self._learn_ratings(batch)
        self._contexts.learn_many(batch)
        self.events += len(batch.users)
        self.newest_event_at = max(self.newest_event_at, int(batch.timestamps.max()))
        return self._drift.add(outcome.ranks[:, outcome.names.index(_BLEND)], batch.timestamps[outcome.events])

    def _follow_published(self) -> None:
        """Another set of versions is another board: what the ones before were right about is not theirs."""
        now = self._published()
        if now is not self._sources:
            self._sources = now
            self._bank.sources = now if now.judged else None
            self._published_board = Scoreboard((_BLEND, *now.judged))

    def _ranked(self, lots: NDArray[np.uint64], batch: Interactions) -> NDArray[np.bool_]:
        """The sample of what speaks for an item."""
        drawn = (lots >> np.uint64(11)).astype(np.float64) < self._sample * 2.0**53  # as many bits as a float holds
        chosen: NDArray[np.bool_] = drawn & _POSITIVE[batch.types] & ~batch.undo
        return chosen

    def _learn_ratings(self, batch: Interactions) -> None:
        rated = (batch.types == EventType.RATING) & ~np.isnan(batch.values) & ~batch.undo
        for e in np.flatnonzero(rated).tolist():
            self._ratings.learn(batch.users[e], batch.items[e], float(batch.values[e]))


def _below(prefix: str, state: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    return ((name.removeprefix(prefix), array) for name, array in state.items() if name.startswith(prefix))
