"""What the models have in common that score by a dot product: one vector a user, one vector and a bias an item."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import F32, I64, Query, Scorer

UNKNOWN_BIAS: Final = np.float32(-1e6)
"""The bias of an item without a vector: it ends behind all others, and alike wherever it is scored."""


class VectorScorer(Scorer):
    """score(user, item) = user vector . item vector + item bias.

    Args:
        vectors: float32[P, d]. bias: float32[P].
    """

    def __init__(self, vectors: F32, bias: F32) -> None:
        self.item_vectors, self.item_bias = vectors, bias

    @abstractmethod
    def user_vectors(self, queries: Sequence[Query]) -> F32:
        """float32[B, d]."""

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer`."""
        scores: F32 = self.user_vectors(queries) @ self.item_vectors.T + self.item_bias
        return scores

    def score_some(self, query: Query, items: I64) -> F32:
        """See `Scorer`."""
        if 2 * len(items) > len(self.item_bias):  # copying vectors costs more than scoring them
            return super().score_some(query, items)
        scores: F32 = self.item_vectors[items] @ self.user_vectors([query])[0] + self.item_bias[items]
        return scores


def without_strangers(vectors: F32, bias: F32, known: NDArray[np.bool_]) -> tuple[F32, F32]:
    """Vectors and biases with nothing for the items that are not `known` but the place behind all others."""
    return np.where(known[:, None], vectors, np.float32(0)), np.where(known, bias, UNKNOWN_BIAS)


def relu_layers(inputs: F32, layers: Sequence[tuple[F32, F32]]) -> F32:
    """max(0, x W + b) for each (W, b) in turn; inputs: float32[..., n]."""
    for kernel, bias in layers:
        inputs = np.maximum(inputs @ kernel + bias, 0)
    return inputs


def array_of(arrays: Mapping[str, NDArray[Any]], name: str, *shape: int | None) -> NDArray[Any]:
    """The array of that name, if it has that shape; None stands for any length.

    Raises:
        InvalidInput: it is missing or has another shape.

    >>> array_of({"bias": np.zeros(3)}, "bias", None).shape
    (3,)
    """
    if name not in arrays:
        raise InvalidInput(f"array {name!r} is missing; there are {', '.join(sorted(arrays)) or 'none'}")
    found = arrays[name]
    fits = len(found.shape) == len(shape) and all(want in {None, have} for want, have in zip(shape, found.shape, strict=True))
    if not fits:
        raise InvalidInput(f"array {name!r} has the shape {found.shape}, expected {shape}")
    return found
