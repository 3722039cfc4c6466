"""Rows of arrays for the users or items that a worker has in memory: filled from the store, bounded, dropped oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_FIRST = 256


class Rows:
    """Assigns a row to each key and grows, clears and compacts the arrays that hold the rows.

    Args:
        columns: name to (values per row; () for one, dtype, value of an empty row). Each becomes an attribute of `arrays`.
        capacity: most rows kept after `shrink`.
    """

    def __init__(self, columns: dict[str, tuple[tuple[int, ...], type, float]], capacity: int) -> None:
        self._columns = columns
        self._capacity = capacity
        self._clock = 0
        self._row_of: dict[str, int] = {}
        self._used = np.zeros(_FIRST, np.int64)
        self.keys: list[str] = []
        self.arrays: dict[str, NDArray[np.generic]] = {
            name: np.full((_FIRST, *shape), empty, dtype) for name, (shape, dtype, empty) in columns.items()
        }

    def __len__(self) -> int:
        return len(self.keys)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys without a row, each once, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._row_of]

    def add(self, key: str) -> int:
        """A new empty row for a key that has none."""
        row = len(self.keys)
        if row == len(self._used):
            self._grow()
        self._row_of[key] = row
        self.keys.append(key)
        return row

    def find(self, keys: list[str]) -> NDArray[np.int64]:
        """The rows of keys that all have one, marked as used now: int64[n]."""
        row_of = self._row_of
        rows = np.array([row_of[key] for key in keys], np.int64)
        self._clock += 1
        self._used[rows] = self._clock
        return rows

    def clear(self, row: int) -> None:
        """Empty one row."""
        for name, (_, _, empty) in self._columns.items():
            self.arrays[name][row] = empty

    def shrink(self, pinned: Sequence[int] = ()) -> NDArray[np.int64] | None:
        """When there are more rows than the capacity: keep the more recently used half of it, and the pinned rows.

        Returns:
            The rows kept, in their new order; None if nothing was dropped.
        """
        if len(self.keys) <= self._capacity:
            return None
        newest_first = np.argsort(-self._used[: len(self.keys)], kind="stable")
        kept = np.union1d(newest_first[: max(1, self._capacity // 2)], np.array(pinned, np.int64))
        self.arrays = {name: array[kept].copy() for name, array in self.arrays.items()}
        self._used = self._used[kept].copy()
        self.keys = [self.keys[row] for row in kept.tolist()]
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        return kept

    def _grow(self) -> None:
        for name, array in self.arrays.items():
            shape, dtype, empty = self._columns[name]
            more: NDArray[np.generic] = np.full((max(len(array), _FIRST), *shape), empty, dtype)
            self.arrays[name] = np.concatenate((array, more))
        self._used = np.concatenate((self._used, np.zeros(max(len(self._used), _FIRST), np.int64)))
