"""Who took what when, in columns of row numbers, and the catalogue of those items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput

I64 = NDArray[np.int64]
F32 = NDArray[np.float32]


class Catalogue(NamedTuple):
    """P items; row p of each column is item p.

    Attributes:
        ids: the items' ids.
        titles: text, empty where there is none.
        categories, tags: names per item, empty where there are none.
        years: float32[P], NaN where unknown.
        first_seen: int64[P], ms: the catalogue event or the first interaction, whichever is older.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    years: F32
    first_seen: I64

    @property
    def size(self) -> int:
        """P."""
        return len(self.ids)


class InteractionLog(NamedTuple):
    """N interactions that speak for their item, oldest first.

    Attributes:
        users: int64[N], rows of `user_ids`. items: int64[N], rows of `catalogue`.
        timestamps: int64[N], event times in ms, not falling.
        ratings: float32[N], NaN where there is none.
        user_ids: the users' ids. catalogue: all items, also those without an interaction in this log.
    """

    users: I64
    items: I64
    timestamps: I64
    ratings: F32
    user_ids: tuple[str, ...]
    catalogue: Catalogue

    @property
    def size(self) -> int:
        """N."""
        return len(self.users)

    def part(self, start: int, end: int) -> InteractionLog:
        """Interactions start to end - 1, of the same users and catalogue."""
        return self._at(slice(start, end))

    def chosen(self, which: NDArray[np.bool_] | I64) -> InteractionLog:
        """The interactions that are marked in bool[N], or of these rising row numbers; of the same users and catalogue."""
        return self._at(which)

    def _at(self, rows: slice | NDArray[np.bool_] | I64) -> InteractionLog:
        return self._replace(
            users=self.users[rows], items=self.items[rows], timestamps=self.timestamps[rows], ratings=self.ratings[rows]
        )

    @property
    def item_counts(self) -> I64:
        """How often each item was taken: int64[P]."""
        return np.bincount(self.items, minlength=self.catalogue.size).astype(np.int64)


def bare_catalogue(ids: Sequence[str], first_seen: I64) -> Catalogue:
    """A catalogue that knows nothing but the ids and since when they are there."""
    count = len(ids)
    nothing: tuple[tuple[str, ...], ...] = ((),) * count
    return Catalogue(tuple(ids), ("",) * count, nothing, nothing, np.full(count, np.nan, np.float32), first_seen)


def checked(log: InteractionLog) -> InteractionLog:
    """The log, if it is whole.

    Raises:
        InvalidInput: columns of unequal length, rows outside users or catalogue, or times that fall.
    """
    if not log.size == len(log.items) == len(log.timestamps) == len(log.ratings):
        raise InvalidInput(f"columns of {log.size}, {len(log.items)}, {len(log.timestamps)} and {len(log.ratings)} events")
    for name, rows, count in (("users", log.users, len(log.user_ids)), ("items", log.items, log.catalogue.size)):
        if log.size and not 0 <= rows.min() <= rows.max() < count:
            raise InvalidInput(f"{name}: rows {rows.min()} to {rows.max()}, of {count}")
    if np.any(log.timestamps[1:] < log.timestamps[:-1]):
        raise InvalidInput("the interactions are not in the order of time")
    return log


def enough_to_learn(log: InteractionLog) -> InteractionLog:
    """The log, if a model can learn from it.

    Raises:
        InvalidInput: as `checked`, or no interactions, or all of them with one item.
    """
    if not checked(log).size:
        raise InvalidInput("the training log is empty; a model needs interactions with at least two items")
    if (log.items == log.items[0]).all():
        raise InvalidInput(f"all {log.size} interactions are with one item; a model needs at least two items")
    return log


def joined(older: InteractionLog, newer: InteractionLog) -> InteractionLog:
    """Both logs in the order of time, those of the same moment with `older` first; they share users and catalogue.

    Raises:
        InvalidInput: they are of different users or items.
    """
    if older.user_ids != newer.user_ids or older.catalogue.ids != newer.catalogue.ids:
        raise InvalidInput("two logs of different users or items cannot be joined; cut both from one log")
    both = older._replace(
        users=np.concatenate((older.users, newer.users)),
        items=np.concatenate((older.items, newer.items)),
        timestamps=np.concatenate((older.timestamps, newer.timestamps)),
        ratings=np.concatenate((older.ratings, newer.ratings)),
    )
    return both.chosen(np.argsort(both.timestamps, kind="stable").astype(np.int64))
