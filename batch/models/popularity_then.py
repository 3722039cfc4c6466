"""Decayed counts as they were at any moment of a log: what was known of an item's popularity before an event."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import I64

F64 = NDArray[np.float64]


class DecayedCounts:
    """c_i(t) = sum over interactions of item i at t' < t of 0.5 ** ((t - t') / half-life).

    Args:
        items: int64[N]. timestamps: int64[N], ms, not falling. half_life: ms.
    """

    def __init__(self, items: I64, timestamps: I64, half_life: float) -> None:
        order = np.argsort(items, kind="stable")
        self._items, self._times, self._half_life = items[order], timestamps[order], half_life
        self._origin = int(timestamps[0]) if len(timestamps) else 0
        self._span = int(timestamps[-1]) - self._origin + 2 if len(timestamps) else 1
        self._keys = self._items * self._span + self._times - self._origin
        self._values = _running(self._items, self._times, half_life)

    def at(self, items: I64, moments: I64) -> F64:
        """c of each item at each moment (broadcast), an interaction at the very moment not counted.

        >>> counts = DecayedCounts(np.array([4, 4, 5]), np.array([0, 10, 20]), half_life=10)
        >>> counts.at(np.array([4, 4, 5, 6]), np.array([10, 20, 20, 20])).tolist()
        [0.5, 0.75, 0.0, 0.0]
        """
        items, moments = np.broadcast_arrays(items, moments)
        if not len(self._keys):
            return np.zeros(items.shape)
        elapsed = np.clip(moments - self._origin, 0, self._span - 1)
        found = np.searchsorted(self._keys, items * self._span + elapsed) - 1
        there = (found >= 0) & (self._items[found] == items)
        faded = 0.5 ** (np.maximum(moments - self._times[found], 0) / self._half_life)
        return np.where(there, self._values[found] * faded, 0.0)


def _running(items: I64, times: I64, half_life: float) -> F64:
    """The count of each interaction's item just after it; interactions stand item by item, oldest first."""
    same = np.diff(items, prepend=-1) == 0
    kept = np.where(same, 0.5 ** (np.diff(times, prepend=times[:1]) * same / half_life), 0.0).tolist()
    value, values = 0.0, []
    for share in kept:
        value = value * share + 1
        values.append(value)
    return np.array(values)
