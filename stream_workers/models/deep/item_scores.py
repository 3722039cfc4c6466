"""The same scores for everybody: popularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.scorer import F32, I64, Query, Scorer
from stream_workers.models.deep.vectors import array_of


class ItemScores(Scorer):
    """score(user, item) = scores[item].

    Args:
        scores: float32[P].
    """

    kind = "item_scores"

    def __init__(self, scores: F32) -> None:
        self._scores = scores

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer`."""
        return np.tile(self._scores, (len(queries), 1))

    def score_some(self, query: Query, items: I64) -> F32:
        """See `Scorer`."""
        return self._scores[items]

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return {"scores": self._scores}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        return cls(array_of(arrays, "scores", None))
