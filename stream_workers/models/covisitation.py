"""Which items are taken together: for each item the K strongest neighbours, by decayed weight.

On event (u, i), for the user's last items a_k before it (k = 0 newest): C[a_k, i] += rho^k and C[i, a_k] += back * rho^k, decayed
with half-life H by event time. A full row gives up its weakest neighbour when a stronger pair comes. Rows are carried at their
newest pair.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def update_neighbours(
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    weights: NDArray[np.float64],
    timestamps: NDArray[np.int64],
    half_life_ms: float,
    neighbours: NDArray[np.int32],
    neighbour_weights: NDArray[np.float32],
    decayed_to: NDArray[np.int64],
) -> None:
    """Add P pairs in order.

    Args:
        rows: int64[P], row of the item whose list grows. others: int64[P], index of the neighbour. weights: float64[P].
        timestamps: int64[P], ms.
        neighbours: int32[items, K], -1 where free, free places last. neighbour_weights: float32[items, K].
        decayed_to: int64[items], ms. All three changed in place.
    """
    places = neighbours.shape[1]
    for p in range(len(rows)):
        row, other, when = rows[p], others[p], timestamps[p]
        if when > decayed_to[row]:
            if decayed_to[row] > 0:
                neighbour_weights[row] *= np.float32(2.0 ** (-(when - decayed_to[row]) / half_life_ms))
            decayed_to[row] = when
        gain = weights[p] * 2.0 ** (-(decayed_to[row] - when) / half_life_ms)
        place, weakest = -1, 0
        for j in range(places):
            if neighbours[row, j] == other or neighbours[row, j] < 0:
                place = j
                break
            if neighbour_weights[row, j] < neighbour_weights[row, weakest]:
                weakest = j
        if place < 0:
            if neighbour_weights[row, weakest] >= gain:
                continue
            place = weakest
            neighbours[row, place] = -1
        if neighbours[row, place] < 0:
            neighbours[row, place], neighbour_weights[row, place] = other, 0.0
        neighbour_weights[row, place] += np.float32(gain)
