"""Which past item speaks most for each recommended one, by the online co-visitation model: what a reason may name.

    part(k, j) = rho^k * (N[a_k] + 1)^-a * C[a_k, j]        a_k: the person's last different items, k = 0 newest

the terms of the sum in `stream_workers/models/online/co_visitation.py`, up to factors that all of them share.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pairs(NamedTuple):
    """Co-visitation of I items, views of the bank's arrays.

    Attributes:
        neighbours: int32[I, N], item codes. weights: float32[I, N]. filled: int32[I], places in use.
        mass: float32[I], decayed count of events, in the unit of the weights.
        decay: rho. power: a.
    """

    neighbours: NDArray[Any]
    weights: NDArray[Any]
    filled: NDArray[Any]
    mass: NDArray[Any]
    decay: float
    power: float


class Seeds:
    """What the past items of one person say for others; a copy, so that the bank may go on.

    Args:
        history: int64[D], item codes, newest first.
        unit: the weight of an event now, so that mass / unit is a decayed count.
    """

    def __init__(self, pairs: Pairs, history: NDArray[np.int64], unit: float) -> None:
        self._neighbours = pairs.neighbours[history]
        in_use = np.arange(self._neighbours.shape[1]) < pairs.filled[history][:, None]
        damping = (pairs.mass[history] / max(unit, 1e-300) + 1.0) ** -pairs.power
        fading = pairs.decay ** np.arange(len(history))
        self._parts = np.where(in_use, (fading * damping)[:, None] * pairs.weights[history], 0.0)

    def strongest(self, targets: NDArray[Any]) -> list[int]:
        """For each of these item codes the place in the history that speaks most for it, -1 where none does."""
        if not len(self._parts):
            return [-1] * len(targets)
        parts = np.where(self._neighbours == targets[:, None, None], self._parts, 0.0).max(axis=2)
        return [int(place) for place in np.where(parts.any(axis=1), parts.argmax(axis=1), -1)]
