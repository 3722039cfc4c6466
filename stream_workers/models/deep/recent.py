"""The newest items of each user as padded rows: what the towers and networks of this package look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.scorer import F32, I64, Query

NOTHING: Final = -1
"""Fills the places of a row behind the user's oldest item."""
_MS_PER_HOUR: Final = 3_600_000


class Recent(NamedTuple):
    """The newest L items of B users, newest first.

    Attributes:
        items: int64[B, L], rows of items, -1 where there are no more.
        gaps: float32[B, L], log2(1 + hours) from each event to the query's moment, 0 where there is none.
        weights: float32[B, L], what each event says of its item, 0 where there is none.
    """

    items: I64
    gaps: F32
    weights: F32

    @property
    def present(self) -> NDArray[np.bool_]:
        """bool[B, L]: where there is an item."""
        there: NDArray[np.bool_] = self.items != NOTHING
        return there


def recent(queries: Sequence[Query], longest: int) -> Recent:
    """The newest `longest` items of each query.

    >>> recent([Query.of([3, 5, 8]), Query.of([])], 2).items.tolist()
    [[8, 5], [-1, -1]]
    """
    shape = (len(queries), longest)
    found = Recent(np.full(shape, NOTHING, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    for row, query in enumerate(queries):
        newest = slice(None, -longest - 1, -1)
        count = min(len(query.items), longest)
        found.items[row, :count] = query.items[newest]
        found.gaps[row, :count] = log_hours(query.now - query.timestamps[newest])
        found.weights[row, :count] = query.weights[newest]
    return found


def log_hours(milliseconds: I64) -> F32:
    """log2(1 + hours), 0 for spans below 0.

    >>> log_hours(np.array([3 * 3_600_000, -5])).tolist()
    [2.0, 0.0]
    """
    hours: F32 = np.log2(1 + np.maximum(milliseconds, 0) / _MS_PER_HOUR).astype(np.float32)
    return hours


def hour_of_day(moments: I64) -> I64:
    """0 to 23, UTC, of times in ms.

    >>> hour_of_day(np.array([3 * 3_600_000])).tolist()
    [3]
    """
    return moments // _MS_PER_HOUR % 24


def decayed_shares(present: NDArray[np.bool_], half_life: float) -> F32:
    """0.5 ** (place / half-life) where there is an item, with a sum of 1 a row (0 where there is none): float32[B, L].

    >>> decayed_shares(np.array([[True, True, False]]), 1.0).round(2)
    array([[0.67, 0.33, 0.  ]], dtype=float32)
    """
    amounts = present * np.float32(0.5) ** (np.arange(present.shape[1], dtype=np.float32) / np.float32(half_life))
    return np.asarray(amounts / np.maximum(amounts.sum(axis=1, keepdims=True), np.float32(1e-6)), np.float32)
