"""A weight from every item to every other: what EASE and other linear item models learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.scorer import F32, I64, Query, Scorer
from stream_workers.models.deep.vectors import array_of

_NONE: Final = -1


class ItemWeights(Scorer):
    """score(user, j) = sum over the items i of the user of W[i, j], each item once; of K of the P items.

    Args:
        weights: float32[K, K]. rows: int64[K], which item each of them is. items: P; the others get a row's lowest score.
    """

    kind = "item_weights"

    def __init__(self, weights: F32, rows: I64, items: int) -> None:
        self._weights, self._rows, self._items = weights, rows, items
        self._place = np.full(items, _NONE, np.int64)
        self._place[rows] = np.arange(len(rows))

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer`."""
        scores = np.empty((len(queries), self._items), np.float32)
        for row, query in zip(scores, queries, strict=True):
            known = self._weights[self._taken(query)].sum(axis=0)
            row[:] = known.min(initial=0)
            row[self._rows] = known
        return scores

    def _taken(self, query: Query) -> I64:
        places = np.unique(self._place[query.items])
        known: I64 = places[places != _NONE]
        return known

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return {"weights": self._weights, "rows": self._rows}

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return {"items": self._items}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        rows = array_of(arrays, "rows", None)
        return cls(array_of(arrays, "weights", len(rows), len(rows)), rows, int(settings["items"]))
