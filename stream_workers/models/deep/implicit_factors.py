"""Factors of implicit feedback: the user's vector is solved for from what they took, so nobody needs to be trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.scorer import F32, Query
from stream_workers.models.deep.vectors import VectorScorer, array_of


class ImplicitFactors(VectorScorer):
    """One half-step of alternating least squares (Hu, Koren and Volinsky, ICDM 2008).

    u = (Y'Y + l I + (c - 1) Y_h' Y_h)^-1 c Y_h' 1, with Y_h the vectors of the items that the user took.

    Args:
        vectors: float32[P, d]. bias: float32[P]: 0, or what keeps an item that was never taken behind the others.
        gram: float32[d, d], Y'Y + l I over the items of the training. confidence: c, of what was taken; 1 of what was not.
    """

    kind = "implicit_factors"

    def __init__(self, vectors: F32, bias: F32, gram: F32, confidence: float) -> None:
        super().__init__(vectors, bias)
        self._gram, self._confidence = gram, confidence

    def user_vectors(self, queries: Sequence[Query]) -> F32:
        """See `VectorScorer`."""
        size = self.item_vectors.shape[1]
        sides, rights = np.empty((len(queries), size, size), np.float32), np.empty((len(queries), size, 1), np.float32)
        for row, query in enumerate(queries):
            taken = self.item_vectors[np.unique(query.items)]
            sides[row] = self._gram + np.float32(self._confidence - 1) * (taken.T @ taken)
            rights[row, :, 0] = np.float32(self._confidence) * taken.sum(axis=0)
        solved: F32 = np.linalg.solve(sides, rights)[:, :, 0]
        return solved

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return {"item_vectors": self.item_vectors, "item_bias": self.item_bias, "gram": self._gram}

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return {"confidence": self._confidence}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        vectors = array_of(arrays, "item_vectors", None, None)
        gram = array_of(arrays, "gram", vectors.shape[1], vectors.shape[1])
        return cls(vectors, array_of(arrays, "item_bias", len(vectors)), gram, float(settings["confidence"]))
