"""Items that go with what the user took last: co-visitation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import F32, I64, Query, Scorer
from stream_workers.models.deep.vectors import array_of


class Neighbours(Scorer):
    """score(user, j) = prior_j + sum over the user's newest items i_1, i_2, ... of decay^(r - 1) w(i_r, j).

    Args:
        neighbours: int64[P, K], each item's neighbours. weights: float32[P, K], 0 where an item has fewer.
        prior: float32[P], orders items that are nobody's neighbour; smaller than any weight that matters.
        newest: how many of the user's items count. decay: what an item counts relative to the one after it, in (0, 1].
    """

    kind = "neighbours"

    def __init__(self, neighbours: I64, weights: F32, prior: F32, newest: int, decay: float) -> None:
        self._neighbours, self._weights, self._prior = neighbours, weights, prior
        self._newest, self._decay = newest, decay

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer`."""
        gained = [self._gained(query) for query in queries]
        scores: F32 = np.stack(gained) + self._prior if gained else np.empty((0, len(self._prior)), np.float32)
        return scores

    def _gained(self, query: Query) -> F32:
        items = query.items[: -self._newest - 1 : -1]
        recency = np.float32(self._decay) ** np.arange(len(items), dtype=np.float32)
        gains = self._weights[items] * recency[:, None]
        summed = np.bincount(self._neighbours[items].ravel(), gains.ravel(), minlength=len(self._prior))
        return summed.astype(np.float32)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return {"neighbours": self._neighbours, "weights": self._weights, "prior": self._prior}

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return {"newest": self._newest, "decay": self._decay}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        prior = array_of(arrays, "prior", None)
        neighbours = array_of(arrays, "neighbours", len(prior), None)
        if neighbours.size and not 0 <= neighbours.min() <= neighbours.max() < len(prior):
            raise InvalidInput(f"array 'neighbours' names items {neighbours.min()} to {neighbours.max()}, of {len(prior)}")
        weights = array_of(arrays, "weights", *neighbours.shape)
        return cls(neighbours, weights, prior, int(settings["newest"]), float(settings["decay"]))
