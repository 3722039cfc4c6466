"""Decayed counts of a bounded number of items in each of a bounded number of contexts; see `context_popularity`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.numeric import F32, F64, I32, grown, kernel

FAST, SLOW = range(2)


class Counts(NamedTuple):
    """C contexts with W places each, M rows of ids.

    Attributes:
        keys: uint64[C], hashes of names; 0: free. mass: float32[C], in the slow unit.
        items: int32[C, W], row of the id plus one; 0: free. fast, slow, error: float32[C, W], each in the unit of its half-life.
        landmarks: float64[2], see `grown`; of fast and slow. newest: float64[1], ms.
    """

    keys: NDArray[np.uint64]
    mass: F32
    items: I32
    fast: F32
    slow: F32
    error: F32
    landmarks: F64
    newest: F64


@kernel
def learn_counts(
    counts: Counts, half_lives: F64, ends: I32, contexts: I32, items: I32, times: F64, weights: F32, uses: I32
) -> None:
    """E events in their order.

    Args:
        ends: int32[E], where each event's rows end in `contexts`. items: int32[E], rows of ids.
        uses: int32[M], how many places hold each row; kept up to date.
    """
    start = 0
    for e in range(items.shape[0]):
        before = counts.landmarks[SLOW]
        slow = weights[e] * grown(times[e], counts.landmarks[SLOW:], half_lives[SLOW], counts.slow)
        fast = weights[e] * grown(times[e], counts.landmarks[:SLOW], half_lives[FAST], counts.fast)
        if counts.landmarks[SLOW] != before and not np.isnan(before):
            lower = np.float32(2.0 ** ((before - counts.landmarks[SLOW]) / half_lives[SLOW]))
            for c in range(counts.mass.shape[0]):
                counts.mass[c] *= lower
                for w in range(counts.error.shape[1]):
                    counts.error[c, w] *= lower
        counts.newest[0] = max(counts.newest[0], times[e])
        for at in range(start, ends[e]):
            if slow > 0:
                _count(counts, contexts[at], items[e], np.float32(slow), np.float32(fast), uses)
        start = ends[e]


@kernel
def _count(counts: Counts, context: int, item: int, slow: float, fast: float, uses: I32) -> None:
    """One event of one context: in the item's place, in a free one, or in that of the smallest count."""
    counts.mass[context] += slow
    least = 0
    for w in range(counts.items.shape[1]):
        held = counts.items[context, w]
        if held == item + 1:
            counts.slow[context, w] += slow
            counts.fast[context, w] += fast
            return
        if held == 0:
            least = w
            break
        if counts.slow[context, w] < counts.slow[context, least]:
            least = w
    if counts.items[context, least] > 0:
        uses[counts.items[context, least] - 1] -= 1
    uses[item] += 1
    counts.items[context, least] = item + 1
    counts.error[context, least] = counts.slow[context, least]
    counts.slow[context, least] += slow
    counts.fast[context, least] = fast


def new_counts(contexts: int, width: int) -> Counts:
    """Nothing has happened yet."""
    fast, slow, error = (np.zeros((contexts, width), np.float32) for _ in range(3))
    return Counts(
        np.zeros(contexts, np.uint64), np.zeros(contexts, np.float32), np.zeros((contexts, width), np.int32), fast, slow, error,
        np.full(2, np.nan), np.zeros(1),
    )  # fmt: skip
