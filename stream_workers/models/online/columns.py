"""What goes into the bank of models and what comes out, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.events import NEGATIVE_TYPES, TYPE_WEIGHTS
from stream_workers.models.online.numeric import F32, F64, I32, I64

# By type code: what speaks for an item counts with its weight, what speaks against it is negative.
WEIGHTS: Final = np.array([-1.0 if code in NEGATIVE_TYPES else weight for code, weight in enumerate(TYPE_WEIGHTS)], np.float32)


class Interactions(NamedTuple):
    """E events in the order in which they are to be learnt.

    Attributes:
        users, items: ids. types: uint8[E], codes of `schemas.events.EventType`.
        values: float32[E], rating, NaN where there is none. undo: bool[E], takes back what the user said of the item before.
        timestamps: int64[E], event time in ms. contexts: per event, sorted "name=value" texts.
    """

    users: list[str]
    items: list[str]
    types: NDArray[np.uint8]
    values: F32
    undo: NDArray[np.bool_]
    timestamps: I64
    contexts: list[tuple[str, ...]]

    @property
    def weights(self) -> F32:
        """float32[E]: > 0 for the item, < 0 against it, 0 takes back."""
        weights: F32 = np.where(self.undo, np.float32(0.0), WEIGHTS[self.types])
        return weights

    @classmethod
    def taken(cls, users: list[str], items: list[str], timestamps: I64, types: NDArray[np.uint8] | None = None) -> Interactions:
        """Events that say nothing but who took what when; clicks unless `types` says otherwise."""
        n = len(users)
        return cls(
            users,
            items,
            np.ones(n, np.uint8) if types is None else types,
            np.full(n, np.nan, np.float32),
            np.zeros(n, np.bool_),
            timestamps,
            [()] * n,
        )

    def part(self, start: int, end: int) -> Interactions:
        """Events start to end - 1."""
        return Interactions._make(column[start:end] for column in self)


class Outcome(NamedTuple):
    """R events that were ranked before anything learnt from them, by M models.

    Attributes:
        events: int64[R], index into the batch. names: the models.
        ranks: int32[R, M], 1 is best, ties count against; 0: the item was never seen before, a miss for all. A blend that did not
            have the item among its candidates gives the number of items.
        top: int32[R, M, 20], codes (after the batch) of the best items, -1 where there are no more or one was forgotten since.
        pool: int32[R], candidates of the blend. reachable: bool[R], whether the item was among them.
        history_length, item_count: int32[R], events of the user and of the item before this one. item_age_ms: float64[R].
        items_seen: int32[R], items to rank at that moment. top_popularity: float32[R, M], mean count of the best ten.
        moved: int32, empty unless items were forgotten during the batch: the new code of every code there was, -1 where forgotten.
    """

    events: I64
    names: tuple[str, ...]
    ranks: I32
    top: I32
    pool: I32
    reachable: NDArray[np.bool_]
    history_length: I32
    item_count: I32
    item_age_ms: F64
    items_seen: I32
    top_popularity: F32
    moved: I32 = np.zeros(0, np.int32)

    def only(self, names: Sequence[str]) -> Outcome:
        """What some of the models did, in this order."""
        if tuple(names) == self.names:
            return self
        columns = [self.names.index(name) for name in names]
        chosen = self._replace(names=tuple(names), ranks=self.ranks[:, columns], top=self.top[:, columns])
        return chosen._replace(top_popularity=self.top_popularity[:, columns])


def moved_codes(codes: NDArray[Any], moved: I32) -> NDArray[Any]:
    """Codes (any shape, -1: none) after a move, see `Outcome.moved`.

    >>> moved_codes(np.array([2, -1, 0]), np.array([-1, 0, 1], np.int32)).tolist()
    [1, -1, -1]
    """
    return np.where(codes >= 0, moved[np.maximum(codes, 0)], np.int32(-1))


def joined(parts: Sequence[Outcome]) -> Outcome:
    """One outcome of several of the same models, in order."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*parts, strict=True)
    return Outcome._make(next(iter(c)) if isinstance(c[0], tuple) else np.concatenate(c) for c in columns)


class History(NamedTuple):
    """What is known of a person: items newest first, with types (uint8[n]) and event times (int64[n], ms)."""

    user_id: str | None
    items: list[str]
    types: NDArray[np.uint8]
    timestamps: I64


class Proposal(NamedTuple):
    """Candidates, best first.

    Attributes:
        items: ids. codes: int32[n], of the items. scores: float32[n], of the blend.
        places: int32[S, n], where each source has the item in its own list, from 1; 0: it did not propose it.
        names: of the S sources.
        trained: whether the blend has learnt anything yet. learnt: events that the bank has learnt.
        features: float32[F, n], what the blend saw of each (`features.FEATURES`); None: nobody asked for them.
    """

    items: list[str]
    codes: I32
    scores: F32
    places: I32
    names: tuple[str, ...]
    trained: bool
    learnt: int
    features: F32 | None = None

    def said(self, row: int) -> dict[str, float]:
        """What each source says for one of the items, 1 / sqrt(its place), largest first."""
        places = [(place, name) for name, place in zip(self.names, self.places[:, row].tolist(), strict=True) if place > 0]
        return {name: place**-0.5 for place, name in sorted(places, key=lambda pair: pair[0])}
