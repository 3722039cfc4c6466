"""NeuMF where it serves: the item's part of the first layer is made beforehand, so a user's scores cost one small layer an item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput
from stream_workers.models.deep.recent import decayed_shares, recent
from stream_workers.models.deep.rowwise import RowwiseScorer
from stream_workers.models.deep.scorer import F32, I64, Query
from stream_workers.models.deep.vectors import array_of


class NeuralFactorsScorer(RowwiseScorer):
    """score = (p * w) . q + m . relu(W2 relu(h + g) + b2) + bias, with p, h of the user and q, g of the item.

        p = user_gmf[user] + mean of history_gmf        h = user_mlp[user] + mean of history_mlp, through W1's upper half
    where the k-th newest of L items counts 0.5 ** (k / half-life), and somebody unknown has 0 for the vectors of the user. `w` is
    in `history_gmf` and `user_gmf`, W1 in `history_mlp`, `user_mlp` and `item_hidden` already.

    Args:
        arrays: `user_gmf` float32[U, d], `user_mlp` float32[U, n], `history_gmf` float32[P, d], `history_mlp` float32[P, n],
            `item_gmf` float32[P, d], `item_hidden` float32[P, n], `kernel` float32[n, m], `kernel_bias` and `out` float32[m],
            `bias` float32[P].
        half_life: in items. longest: L.
    """

    kind: ClassVar[str] = "neural_factors"

    def __init__(self, arrays: Mapping[str, NDArray[Any]], half_life: float, longest: int) -> None:
        self._arrays, self._half_life, self._longest = dict(arrays), half_life, longest
        self._item_gmf: F32 = array_of(arrays, "item_gmf", None, None)
        self._item_hidden: F32 = array_of(arrays, "item_hidden", len(self._item_gmf), None)
        (items, width), hidden = self._item_gmf.shape, self._item_hidden.shape[1]
        self._user_gmf: F32 = array_of(arrays, "user_gmf", None, width)
        self._user_mlp: F32 = array_of(arrays, "user_mlp", len(self._user_gmf), hidden)
        self._history_gmf: F32 = array_of(arrays, "history_gmf", items, width)
        self._history_mlp: F32 = array_of(arrays, "history_mlp", items, hidden)
        self._kernel: F32 = array_of(arrays, "kernel", hidden, None)
        self._kernel_bias: F32 = array_of(arrays, "kernel_bias", self._kernel.shape[1])
        self._out: F32 = array_of(arrays, "out", self._kernel.shape[1])
        self._bias: F32 = array_of(arrays, "bias", items)
        if half_life <= 0 or longest < 1:
            raise InvalidInput(f"half_life={half_life}, longest={longest}: expected more than 0")

    def _score_rows(self, query: Query, items: I64 | slice) -> F32:
        gmf, mlp = self._user(query)
        hidden: F32 = self._item_hidden[items] + mlp
        np.maximum(hidden, 0, out=hidden)
        second: F32 = hidden @ self._kernel
        second += self._kernel_bias
        np.maximum(second, 0, out=second)
        scores: F32 = self._item_gmf[items] @ gmf + second @ self._out + self._bias[items]
        return scores

    def _user(self, query: Query) -> tuple[F32, F32]:
        """p (float32[d]) and h (float32[n])."""
        found = recent([query], self._longest)
        items, amounts = found.items[0], decayed_shares(found.present, self._half_life)[0]
        gmf: F32 = amounts @ self._history_gmf[items]
        mlp: F32 = amounts @ self._history_mlp[items]
        if query.user >= 0:
            return gmf + self._user_gmf[query.user], mlp + self._user_mlp[query.user]
        return gmf, mlp

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return self._arrays

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return {"half_life": self._half_life, "longest": self._longest}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        return cls(arrays, float(settings["half_life"]), int(settings["longest"]))
