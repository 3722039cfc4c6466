"""The two-tower model where it serves: item vectors made beforehand, the user tower in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.recent import Recent, hour_of_day, recent
from stream_workers.models.deep.scorer import F32, I64, Query
from stream_workers.models.deep.vectors import IndexedScorer, array_of, relu_layers

AGE_BUCKETS: Final = 14
_MS_PER_DAY: Final = 86_400_000
_LEAST_LENGTH: Final = np.float32(1e-6)
_ABSENT: Final = np.float32(-1e9)


class TwoTowerScorer(IndexedScorer):
    """score(user, item, now) = u . v / temperature + bias + age effect, with u and v of length 1.

        weights = softmax over the user's newest L items of (v . query + place + slope * log2(1 + hours since))
        u       = unit(pooled + W2 relu(W1 [pooled; newest; hour of day]))     pooled = sum of weights * v
        age effect = [u; 1] . ages[bucket of (now - first seen)]

    Args:
        arrays: `vectors` float32[P, d], `bias` float32[P], `first_seen` int64[P] (ms), `query` float32[d], `places` float32[L],
            `slope` float32[1], `hours` float32[24, h], `kernel_1` float32[2 d + h, n] and `bias_1`, `kernel_2` float32[n, d] and
            `bias_2`, `ages` float32[14, d + 1], `temperature` float32[1].
    """

    kind: ClassVar[str] = "two_tower"

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = dict(arrays)
        vectors: F32 = array_of(arrays, "vectors", None, None)
        count, width = vectors.shape
        super().__init__(vectors, array_of(arrays, "bias", count))
        self._first_seen: I64 = array_of(arrays, "first_seen", count)
        self._query: F32 = array_of(arrays, "query", width)
        self._places: F32 = array_of(arrays, "places", None)
        self._slope: F32 = array_of(arrays, "slope", 1)
        self._hours: F32 = array_of(arrays, "hours", 24, None)
        inputs = 2 * width + self._hours.shape[1]
        self._first = (array_of(arrays, "kernel_1", inputs, None), array_of(arrays, "bias_1", None))
        self._second = (array_of(arrays, "kernel_2", len(self._first[1]), width), array_of(arrays, "bias_2", width))
        self._ages: F32 = array_of(arrays, "ages", AGE_BUCKETS, width + 1)
        self._temperature = np.float32(array_of(arrays, "temperature", 1)[0])

    def user_vectors(self, queries: Sequence[Query]) -> F32:
        """u: float32[B, d], of length 1 (0 where nothing at all is known)."""
        found = recent(queries, len(self._places))
        vectors = self.item_vectors[found.items] * found.present[..., None]
        pooled = np.einsum("bl,bld->bd", self._attention(vectors, found), vectors)
        moments = np.array([query.now for query in queries], np.int64)
        inputs = np.concatenate([pooled, vectors[:, 0], self._hours[hour_of_day(moments)]], axis=1)
        kernel, bias = self._second
        return unit(pooled + relu_layers(inputs, [self._first]) @ kernel + bias)

    def questions(self, queries: Sequence[Query]) -> F32:
        """See `IndexedScorer`; what ages are worth is added for what is found."""
        vectors: F32 = self.user_vectors(queries) / self._temperature
        return vectors

    def _attention(self, vectors: F32, found: Recent) -> F32:
        """The weights of each user's items: float32[B, L], 0 where there is none."""
        logits = vectors @ self._query + self._places + self._slope * found.gaps
        logits = np.where(found.present, logits, _ABSENT)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True)) * found.present
        return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), _LEAST_LENGTH), np.float32)

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer`."""
        users = self.user_vectors(queries)
        moments = np.array([query.now for query in queries], np.int64)
        effects = np.take_along_axis(self._age_effects(users), age_buckets(moments[:, None] - self._first_seen), axis=1)
        scores: F32 = users @ self.item_vectors.T / self._temperature + self.item_bias + effects
        return scores

    def score_some(self, query: Query, items: I64) -> F32:
        """See `Scorer`."""
        users = self.user_vectors([query])
        effects = self._age_effects(users)[0][age_buckets(query.now - self._first_seen[items])]
        scores: F32 = self.item_vectors[items] @ users[0] / self._temperature + self.item_bias[items] + effects
        return scores

    def _age_effects(self, users: F32) -> F32:
        """What each age is worth to each user: float32[B, 14]."""
        effects: F32 = users @ self._ages[:, :-1].T + self._ages[:, -1]
        return effects

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return self._arrays

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        return cls(arrays)


def unit(vectors: F32) -> F32:
    """The vectors (last axis) with length 1; what is all but 0 stays short."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _LEAST_LENGTH), np.float32)


def age_buckets(ages: I64) -> I64:
    """floor(log2(1 + days)), at most 13, of ages in ms; 0 for what is not there yet.

    >>> age_buckets(np.array([-5, 1, 86_400_000, 10 * 86_400_000])).tolist()
    [0, 0, 1, 3]
    """
    whole_days = np.maximum(ages, 0) // _MS_PER_DAY
    _, exponents = np.frexp((1 + whole_days).astype(np.float32))  # x = m * 2 ** e with 1/2 <= m < 1
    return np.asarray(np.minimum(exponents - 1, AGE_BUCKETS - 1), np.int64)
