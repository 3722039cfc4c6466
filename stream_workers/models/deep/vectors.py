"""What the models have in common that score by a dot product: one vector a user, one vector and a bias an item."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import F32, I64, Query, Scorer

UNKNOWN_BIAS: Final = np.float32(-1e6)
"""The bias of an item without a vector: it ends behind all others, and alike wherever it is scored."""
_AGAIN: Final = 2  # times as many as are wanted are found, and scored again


class Index(Protocol):
    """Finds items by their vectors (`nearest.NearestItems`)."""

    def search(self, question: F32, k: int) -> I64:
        """Rows of (nearly) the k items with the largest question . vector + bias, best first: int64[<= k]."""


class IndexedScorer(Scorer):
    """score(user, item) = question(user) . item vector + item bias, and what is worked out again for the few that are found.

    Args:
        vectors: float32[P, d]. bias: float32[P].

    Attributes:
        index: over the vectors and biases; None: all items are looked at.
    """

    index: Index | None = None

    def __init__(self, vectors: F32, bias: F32) -> None:
        self.item_vectors, self.item_bias = vectors, bias

    @abstractmethod
    def questions(self, queries: Sequence[Query]) -> F32:
        """What the item vectors are multiplied with: float32[B, d]."""

    @property
    def searchable(self) -> bool:
        """See `Scorer`."""
        return self.index is not None

    def search(self, query: Query, k: int) -> I64:
        """See `Scorer`."""
        if self.index is None:
            return super().search(query, k)
        rows = self.index.search(self.questions([query])[0], _AGAIN * k)
        return best_of(rows, self.score_some(query, rows), k)


class VectorScorer(IndexedScorer):
    """score(user, item) = user vector . item vector + item bias.

    Args:
        vectors: float32[P, d]. bias: float32[P].
    """

    @abstractmethod
    def user_vectors(self, queries: Sequence[Query]) -> F32:
        """float32[B, d]."""

    def questions(self, queries: Sequence[Query]) -> F32:
        """See `IndexedScorer`."""
        return self.user_vectors(queries)

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer`."""
        scores: F32 = self.user_vectors(queries) @ self.item_vectors.T + self.item_bias
        return scores

    def score_some(self, query: Query, items: I64) -> F32:
        """See `Scorer`."""
        if 2 * len(items) > len(self.item_bias):  # copying vectors costs more than scoring them
            return super().score_some(query, items)
        return self.score_vector(self.user_vectors([query])[0], items)

    def score_vector(self, user: F32, items: I64) -> F32:
        """The scores of n of the items for a user vector, float32[d]: float32[n]."""
        scores: F32 = self.item_vectors[items] @ user + self.item_bias[items]
        return scores

    def search_vector(self, user: F32, k: int) -> I64:
        """As `search`, for a user vector, float32[d]."""
        rows = np.arange(len(self.item_bias)) if self.index is None else self.index.search(user, k)
        return best_of(rows, self.score_vector(user, rows), k)


def best_of(rows: I64, scores: F32, k: int) -> I64:
    """The k rows with the highest scores, best first.

    >>> best_of(np.array([4, 7, 9]), np.array([0.5, 0.1, 0.9], np.float32), 2).tolist()
    [9, 4]
    """
    found: I64 = rows[np.argsort(-scores, kind="stable")[:k]]
    return found


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
