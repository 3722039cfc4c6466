"""What the models have in common that ask a small network about each pair of a user and an item."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from stream_workers.models.deep.scorer import F32, I64, Query, Scorer


class RowwiseScorer(Scorer):
    """Scores one user at a time, any of the items.

    Attributes:
        _bias: float32[P], of the items.
    """

    _bias: F32

    @abstractmethod
    def _score_rows(self, query: Query, items: I64 | slice) -> F32:
        """The scores of some items, or of all, for one user: float32[n]."""

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer`."""
        rows = [self._score_rows(query, slice(None)) for query in queries]
        return np.stack(rows) if rows else np.zeros((0, len(self._bias)), np.float32)

    def score_some(self, query: Query, items: I64) -> F32:
        """See `Scorer`."""
        if 2 * len(items) > len(self._bias):  # copying rows costs more than scoring them
            return self._score_rows(query, slice(None))[items]
        return self._score_rows(query, items)
