"""The inverse of `popularity` and `covisitation`: what an event added is taken away again, because its user is forgotten.

Decay is a function of event time alone, so what is left of a contribution now is known exactly: weight * 2^(-(newest - t) / H) of a
decayed count, one of the bucket of t while the ring still holds it, the decayed weight of a pair. Nothing goes below zero. An item
that nobody else took is left as one that nobody ever took.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

RESIDUE = 1e-4  # share of a float32 weight that may be left of rounding (of every decay); 2^-13: nobody would miss as old a pair
_ROUNDED = 1e-9  # the same of a float64 sum


@njit(cache=True)
def subtract_popularity(
    items: NDArray[np.int64],
    types: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    type_weights: NDArray[np.float64],
    half_lives_ms: NDArray[np.float64],
    ring_sizes: NDArray[np.int64],
    bucket_ms: NDArray[np.int64],
    counts: NDArray[np.uint32],
    newest: NDArray[np.int64],
    decayed: NDArray[np.float64],
    buckets: NDArray[np.uint32],
) -> None:
    """Take E events away; arguments as of `popularity.update_popularity`.

    `newest` stays where others took the item: it is only the moment at which the sums stand, and the sums are right for it.
    """
    for e in range(len(items)):
        item, when = items[e], timestamps[e]
        if counts[item, types[e]] > 0:
            counts[item, types[e]] -= 1
        weight = type_weights[types[e]]
        if weight <= 0:
            continue
        late = newest[item] - when
        for h in range(len(half_lives_ms)):
            gain = weight * 2.0 ** (-late / half_lives_ms[h])
            left = decayed[item, h] - gain
            decayed[item, h] = left if left > _ROUNDED * gain else 0.0
        _subtract_bucket(when, newest[item], ring_sizes, bucket_ms, buckets[item])
        if not np.any(counts[item][type_weights > 0]):  # nobody took it
            newest[item], decayed[item], buckets[item] = 0, 0.0, 0


@njit(cache=True)
def _subtract_bucket(
    when: int, newest: int, ring_sizes: NDArray[np.int64], bucket_ms: NDArray[np.int64], buckets: NDArray[np.uint32]
) -> None:
    """Take one event at `when` out of the rings of one item, as far as they still hold its bucket."""
    start = 0
    for w in range(len(ring_sizes)):
        size, width = ring_sizes[w], bucket_ms[w]
        place = start + (when // width) % size
        if 0 <= newest // width - when // width < size and buckets[place] > 0:
            buckets[place] -= 1
        start += size


@njit(cache=True)
def subtract_neighbours(
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    weights: NDArray[np.float64],
    timestamps: NDArray[np.int64],
    half_life_ms: float,
    neighbours: NDArray[np.int32],
    neighbour_weights: NDArray[np.float32],
    decayed_to: NDArray[np.int64],
) -> None:
    """Take P pairs away; arguments as of `covisitation.update_neighbours`.

    A pair that is not in its list was pushed out of it by stronger ones, and is gone already; whom it pushed out itself stays gone.
    """
    places = neighbours.shape[1]
    for p in range(len(rows)):
        row, other = rows[p], others[p]
        gain = weights[p] * 2.0 ** (-(decayed_to[row] - timestamps[p]) / half_life_ms)
        for place in range(places):
            if neighbours[row, place] != other:
                continue
            left = neighbour_weights[row, place] - np.float32(gain)
            if left > RESIDUE * neighbour_weights[row, place]:
                neighbour_weights[row, place] = left
                break
            for j in range(place, places - 1):
                neighbours[row, j], neighbour_weights[row, j] = neighbours[row, j + 1], neighbour_weights[row, j + 1]
            neighbours[row, places - 1], neighbour_weights[row, places - 1] = -1, 0.0
            break
        if neighbours[row, 0] < 0:
            decayed_to[row] = 0
