"""Features of every item of every slate, computed strictly from what was known before the slate was shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from batch.slates.columns import F32, F64, I64, NEVER, Slates
from batch.slates.content import ItemVectors, item_vectors
from batch.slates.neighbours import NAMES as NEIGHBOUR_NAMES
from batch.slates.neighbours import Neighbours
from batch.slates.strength import ItemStrengths
from batch.slates.taste import NOTHING, Memory, taste_features, taste_names

GROUPS: Final = ("counters", "competition", "content", "session", "context")
SMOOTHINGS: Final = (3, 10, 30)
RECENT_SLATES: Final = 2000
_COUNTERS: Final = ("shown", "clicks", *(f"ctr_{shows}" for shows in SMOOTHINGS), "ctr_recent")
_COMPETITION: Final = ("lift", "contrast", "strength", "own_strength", "uncertainty")
_CONTEXT: Final = ("seen_before", "clicked_before", "alike_here")
_LONGEST_MEMORY: Final = 240


class FeatureTable(NamedTuple):
    """F features of S slates.

    Attributes:
        values: float32[S, W, F], 0 behind the last item of a slate. names: the F names. groups: the group of each, of `GROUPS`.
    """

    values: F32
    names: tuple[str, ...]
    groups: tuple[str, ...]

    def column(self, name: str) -> F32:
        """One feature: float32[S, W]."""
        one: F32 = self.values[:, :, self.names.index(name)]
        return one


def usual_patience(slates: Slates, rows: I64) -> int:
    """Within how many ms 99 % of the clicks of these slates came: how long to wait before an unclicked item counts as passed over.

    Give it slates of the training only.
    """
    times = slates.click_times[rows]
    delays = (times - slates.times[rows, None])[times != NEVER]
    return int(np.quantile(delays, 0.99, method="higher")) if len(delays) else 0


def feature_table(slates: Slates, patience: int) -> FeatureTable:
    """One pass over the slates in time order: features first, then learn what became known.

    The outcome of slate j is its clicks up to `times[j] + patience` ms. It is known to slate i if that moment is before `times[i]`:
    no click of the list itself, of the future, or of a list that is still open counts, and no unclicked item of an open list counts
    as passed over. The same code at serving time would give the same numbers.
    """
    vectors = item_vectors(slates.content)
    history = _History(vectors, slates.content.size)
    values: list[F64] = []
    outcomes = _outcomes(slates, patience)
    following = next(outcomes, None)
    for items, session, time in zip(_items_of(slates), slates.sessions, slates.times, strict=True):
        while following is not None and following.known < time:
            history.learn(following)
            following = next(outcomes, None)
        values.append(history.features(items, int(session)))
    names, groups = _columns(vectors, slates.content.number_names)
    table = np.zeros((*slates.items.shape, len(names)), np.float32)
    for at, rows in enumerate(values):
        table[at, : len(rows)] = rows
    return FeatureTable(table, names, groups)


def _columns(vectors: ItemVectors, numbers: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    session = (*taste_names(vectors, numbers), "taste_strength", *NEIGHBOUR_NAMES)
    named = zip(GROUPS, (_COUNTERS, _COMPETITION, ("content", *numbers), session, _CONTEXT), strict=True)
    both = [(name, group) for group, names in named for name in names]
    return tuple(name for name, _ in both), tuple(group for _, group in both)


class _Outcome(NamedTuple):
    """A slate whose waiting time is over at `known`."""

    known: int
    session: int
    items: I64
    clicked: F64


def _items_of(slates: Slates) -> Iterator[I64]:
    lengths = slates.shown.sum(axis=1)
    return (items[:length] for items, length in zip(slates.items, lengths, strict=True))


def _outcomes(slates: Slates, patience: int) -> Iterator[_Outcome]:
    """Oldest first, as the slates are."""
    columns = zip(slates.times, slates.sessions, _items_of(slates), slates.click_times, strict=True)
    for time, session, items, clicks in columns:
        known = int(time) + patience
        yield _Outcome(known, int(session), items, (clicks[: len(items)] <= known).astype(np.float64))


class _History:
    """What all outcomes until now say."""

    def __init__(self, vectors: ItemVectors, items: int) -> None:
        self._vectors = vectors
        self._shown, self._clicks, self._expected = np.zeros(items), np.zeros(items), np.zeros(items)
        self._recent = np.zeros((2, items))
        self._total = np.array([1.0, 5.0])  # clicks and shows of all items; one in five until something is known
        self._strengths = ItemStrengths(vectors.prior)
        self._neighbours = Neighbours(items)
        self._memories: dict[int, Memory] = {}

    def learn(self, outcome: _Outcome) -> None:
        items, clicked = outcome.items, outcome.clicked
        clicks, size = clicked.sum(), len(items)
        self._total += clicks, size
        self._shown[items] += 1
        self._clicks[items] += clicked
        self._expected[items] += clicks / size
        self._recent *= 0.5 ** (1 / RECENT_SLATES)
        self._recent[:, items] += clicked, np.ones(size)
        residual = information = np.zeros(size)  # all or nothing clicked says nothing of one item against another
        if 0 < clicks < size:
            residual, information = self._strengths.learn(items, clicked > 0)
            self._neighbours.learn(outcome.session, items, residual)
        memory = self._memories.get(outcome.session, NOTHING).followed_by(Memory(items, clicked, residual, information))
        self._memories[outcome.session] = memory.newest(_LONGEST_MEMORY)

    def features(self, items: I64, session: int) -> F64:
        memory = self._memories.get(session, NOTHING)
        columns = (self._counters(items), self._competition(items), self._content(items))
        return np.concatenate((*columns, self._session(items, session, memory), self._context(items, memory)), axis=1)

    def _counters(self, items: I64) -> F64:
        shown, clicks, rate = self._shown[items], self._clicks[items], self._total[0] / self._total[1]
        smoothed = [(clicks + shows * rate) / (shown + shows) for shows in SMOOTHINGS]
        recent = (self._recent[0, items] + SMOOTHINGS[1] * rate) / (self._recent[1, items] + SMOOTHINGS[1])
        return np.stack([np.log1p(shown), clicks, *smoothed, recent], axis=1)

    def _competition(self, items: I64) -> F64:
        shown, clicks, expected = self._shown[items], self._clicks[items], self._expected[items]
        lift, contrast = (clicks + 5) / (expected + 5), (clicks - expected) / (shown + 5)
        own, uncertainty = self._strengths.own[items], np.sqrt(self._strengths.variance[items])
        return np.stack([lift, contrast, self._strengths.of(items), own, uncertainty], axis=1)

    def _content(self, items: I64) -> F64:
        return np.concatenate((self._strengths.of_content(items)[:, None], self._vectors.numbers[items]), axis=1)

    def _session(self, items: I64, session: int, memory: Memory) -> F64:
        liking = float(memory.residual @ self._strengths.of(memory.items))  # does this person click what everybody clicks?
        along = self._strengths.of(items) * liking
        others = self._neighbours.features(session, memory.items, memory.residual, items)
        return np.concatenate((taste_features(self._vectors, memory, items), along[:, None], others), axis=1)

    def _context(self, items: I64, memory: Memory) -> F64:
        here = self._vectors.kinds["all"][items]
        alike = here @ here.sum(axis=0) / len(items)
        seen, clicked = np.full(len(items), len(memory.items)), np.full(len(items), memory.clicked.sum())
        return np.stack([np.log1p(seen), np.log1p(clicked), alike], axis=1)
