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


def strongest_seeds(pairs: Pairs, history: NDArray[np.int64], targets: NDArray[np.int64], unit: float) -> NDArray[np.int64]:
    """For each target the place in the history that speaks most for it, -1 where none does.

    Args:
        history: int64[D], item codes, newest first. targets: int64[T], different codes.
        unit: the weight of an event now, so that mass / unit is a decayed count.

    Returns:
        int64[T].
    """
    places = pairs.neighbours.shape[1]
    rows = pairs.neighbours[history]
    in_use = np.arange(places) < pairs.filled[history][:, None]
    order = np.argsort(targets, kind="stable")
    found = np.minimum(np.searchsorted(targets, rows, sorter=order), max(0, len(targets) - 1))
    target = order[found] if len(targets) else np.zeros(rows.shape, np.int64)
    hits = in_use & (targets[target] == rows) if len(targets) else np.zeros(rows.shape, np.bool_)
    damping = (pairs.mass[history] / max(unit, 1e-300) + 1.0) ** -pairs.power
    parts = np.zeros((len(history), len(targets)))
    seed, place = np.nonzero(hits)
    parts[seed, target[seed, place]] = (pairs.decay**seed) * damping[seed] * pairs.weights[history][seed, place]
    best = parts.argmax(axis=0) if len(history) else np.zeros(len(targets), np.int64)
    strongest = parts.max(axis=0, initial=0.0)
    return np.where(strongest > 0, best, -1).astype(np.int64)
