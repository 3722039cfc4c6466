"""Wide & Deep (and its variant with cross layers) where it serves, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.crosses import crossed_weight, favourites
from stream_workers.models.deep.recent import decayed_shares, hour_of_day, log_hours, recent
from stream_workers.models.deep.rowwise import RowwiseScorer
from stream_workers.models.deep.scorer import F32, I64, Query
from stream_workers.models.deep.vectors import array_of, relu_layers

_PAIR_NUMBERS: Final = 3
"""Numbers that are not of the item alone: its age, and the two products."""


class _User(NamedTuple):
    """One user: `inputs` float32[u] of the deep part, `pooled` float32[d], `taste` float32[c]; `newest`, `favourite` cross."""

    inputs: F32
    pooled: F32
    taste: F32
    newest: I64
    favourite: int


class WideDeepScorer(RowwiseScorer):
    """score = sum of the weights of the crosses + deep part + item bias.

        user    = [pooled item vectors; pooled category vectors; hour; log2(1 + hours since the newest event)]
        item    = [item vector; mean category vector]
        numbers = [log popularity shares; log age; pooled . item vector; pooled . category vector]
        x0 = [user; item; numbers];  x_k+1 = x0 * (x_k W_k + b_k) + x_k for each cross layer;  deep = out . relu(... relu(x W + b))

    Without cross layers the item's part of the first layer is made once, when the model is loaded.

    Args:
        arrays: `vectors` float32[P, d], `kinds` float32[P, c] (mean category vectors), `hours` float32[24, h],
            `shares` float32[P, s], `first_seen` int64[P], `categories` int32[P, n], `wide` float32[buckets], `bias` float32[P],
            `out` float32[m]; `kernel_0`, `bias_0`, ... of the deep layers, `cross_kernel_0`, `cross_bias_0`, ... of the others.
        settings: `half_life`, `longest` (of the history, in items), `deep`, `cross` (numbers of layers).
    """

    kind: ClassVar[str] = "wide_deep"

    def __init__(self, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> None:
        self._arrays, self._settings = dict(arrays), dict(settings)
        self._vectors: F32 = array_of(arrays, "vectors", None, None)
        count = len(self._vectors)
        self._kinds: F32 = array_of(arrays, "kinds", count, None)
        self._hours: F32 = array_of(arrays, "hours", 24, None)
        self._shares: F32 = array_of(arrays, "shares", count, None)
        self._first_seen: I64 = array_of(arrays, "first_seen", count)
        self._categories: NDArray[np.int32] = array_of(arrays, "categories", count, None)
        self._wide: F32 = array_of(arrays, "wide", None)
        self._bias: F32 = array_of(arrays, "bias", count)
        self._cross = self._layers("cross_kernel", "cross_bias", int(settings["cross"]))
        self._deep = self._layers("kernel", "bias", int(settings["deep"]))
        self._out: F32 = array_of(arrays, "out", len(self._deep[-1][1]))
        self._items = np.concatenate([self._vectors, self._kinds], axis=1)
        self._user_width = self._items.shape[1] + self._hours.shape[1] + 1
        kernel = self._deep[0][0]
        given = np.concatenate([self._items, self._shares], axis=1)
        self._item_hidden: F32 = given @ kernel[self._user_width : -_PAIR_NUMBERS] + self._deep[0][1]
        self._columns = np.ascontiguousarray(self._categories.T)
        self._category_count = 1 + int(self._categories.max(initial=0))

    def _layers(self, kernels: str, biases: str, count: int) -> list[tuple[F32, F32]]:
        width = 2 * (self._vectors.shape[1] + self._kinds.shape[1]) + self._hours.shape[1] + 1 + self._shares.shape[1] + 3
        found: list[tuple[F32, F32]] = []
        for at in range(count):
            bias = array_of(self._arrays, f"{biases}_{at}", None)
            kernel = array_of(self._arrays, f"{kernels}_{at}", found[-1][0].shape[1] if found else width, len(bias))
            found.append((kernel, bias))
        return found

    def _score_rows(self, query: Query, items: I64 | slice) -> F32:
        user = self._user(query)
        rows = np.arange(len(self._bias))[items]
        scores = crossed_weight(self._wide, user.newest, user.favourite, rows, self._columns, self._category_count)
        scores += self._deep_part(user, items, query.now)
        scores += self._bias[items]
        return scores

    def _user(self, query: Query) -> _User:
        found = recent([query], int(self._settings["longest"]))
        shares = decayed_shares(found.present, float(self._settings["half_life"]))
        pooled, taste = shares[0] @ self._vectors[found.items[0]], shares[0] @ self._kinds[found.items[0]]
        since = found.gaps[0, :1] / SINCE_SCALE
        inputs = np.concatenate([pooled, taste, self._hours[hour_of_day(np.array([query.now]))[0]], since])
        favourite = int(favourites(found.items, shares, self._categories, self._category_count)[0])
        return _User(inputs.astype(np.float32), pooled, taste, found.items[0], favourite)

    def _deep_part(self, user: _User, items: I64 | slice, now: int) -> F32:
        numbers = self._pair_numbers(user, items, now)
        if self._cross:
            fixed = np.broadcast_to(user.inputs, (len(numbers), len(user.inputs)))
            inputs = np.concatenate([fixed, self._items[items], self._shares[items], numbers], axis=1)
            return np.asarray(relu_layers(self._through_crosses(inputs), self._deep) @ self._out, np.float32)
        kernel = self._deep[0][0]
        first: F32 = numbers @ kernel[-_PAIR_NUMBERS:]
        first += self._item_hidden[items]
        first += user.inputs @ kernel[: self._user_width]
        np.maximum(first, 0, out=first)
        return np.asarray(relu_layers(first, self._deep[1:]) @ self._out, np.float32)

    def _pair_numbers(self, user: _User, items: I64 | slice, now: int) -> F32:
        """Age and the two products: float32[n, 3]."""
        vectors, kinds = self._vectors[items] @ user.pooled, self._kinds[items] @ user.taste
        return np.stack([age_number(now - self._first_seen[items]), vectors, kinds], axis=1)

    def _through_crosses(self, inputs: F32) -> F32:
        crossed_inputs = inputs
        for kernel, bias in self._cross:
            crossed_inputs = inputs * (crossed_inputs @ kernel + bias) + crossed_inputs
        return crossed_inputs

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return self._arrays

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return self._settings

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        return cls(arrays, settings)


SINCE_SCALE = np.float32(16)
"""Divides log2(1 + hours): 16 is seven years."""


def age_number(ages: I64) -> F32:
    """log2(1 + hours) / 16 of ages in ms; 0 for what is not there yet, and for what is there since this moment."""
    number: F32 = log_hours(ages) / SINCE_SCALE
    return number


def log_share(amounts: NDArray[np.float64], totals: NDArray[np.float64]) -> F32:
    """An item's part of all decayed interactions, on a scale from about -1 (none) to 1: (log((c + .1) / (C + 1)) + 6) / 6."""
    share: F32 = ((np.log((amounts + 0.1) / (totals + 1)) + 6) / 6).astype(np.float32)
    return share
