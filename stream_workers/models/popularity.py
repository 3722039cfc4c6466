"""How often each item was taken: exact counts, decayed counts at several half-lives, exact counts in sliding windows.

Decayed count: v(t) = sum over events e: weight(type_e) * 2^(-(t - t_e) / H), carried at the item's newest event time and decayed
forward (Cormode et al., Forward Decay, ICDE 2009), so nothing is rescanned and late events count with what is left of them.
Windows: a ring of tumbling buckets per window; bucket b (= t // width) stands at b mod n and is cleared when the ring moves past
it. Both are sums over events: independent of the order in which the events arrive.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def update_popularity(
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
    """Add E events in order.

    Args:
        items, types, timestamps: int64[E]; row of the item, type code, ms. Types of weight 0 are counted but make nothing popular.
        half_lives_ms: float64[H]. ring_sizes, bucket_ms: int64[W].
        counts: uint32[items, types]. newest: int64[items], ms. decayed: float64[items, H]. buckets: uint32[items, sum of ring
        sizes].
            All changed in place.
    """
    for e in range(len(items)):
        item, when = items[e], timestamps[e]
        counts[item, types[e]] += 1
        weight = type_weights[types[e]]
        if weight <= 0:
            continue
        before = newest[item]
        if when > before:
            newest[item] = when
            start = 0
            for w in range(len(ring_sizes)):
                size, width = ring_sizes[w], bucket_ms[w]
                passed = min(when // width - before // width, size)
                for b in range(passed):
                    buckets[item, start + (when // width - b) % size] = 0
                start += size
            for h in range(len(half_lives_ms)):
                decayed[item, h] *= 2.0 ** (-(when - before) / half_lives_ms[h])
        late = newest[item] - when
        for h in range(len(half_lives_ms)):
            decayed[item, h] += weight * 2.0 ** (-late / half_lives_ms[h])
        start = 0
        for w in range(len(ring_sizes)):
            size, width = ring_sizes[w], bucket_ms[w]
            if newest[item] // width - when // width < size:
                buckets[item, start + (when // width) % size] += 1
            start += size


@njit(cache=True)
def sum_windows(
    items: NDArray[np.int64],
    now: int,
    ring_sizes: NDArray[np.int64],
    bucket_ms: NDArray[np.int64],
    newest: NDArray[np.int64],
    buckets: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Counts of the given items (int64[D], rows) in the windows that end in the bucket of `now` (ms): int64[D, W]."""
    sums = np.zeros((len(items), len(ring_sizes)), np.int64)
    for d in range(len(items)):
        start = 0
        for w in range(len(ring_sizes)):
            size, width = ring_sizes[w], bucket_ms[w]
            head = newest[items[d]] // width
            for age in range(size - max(0, now // width - head)):
                sums[d, w] += buckets[items[d], start + (head - age) % size]
            start += size
    return sums
