"""Ranks and best lists over dense scores."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream_workers.models.online.numeric import F32, I32, I64, kernel

_BLOCK: Final = 64
SPARE_PLACES: Final = 16  # so that a list is of use to somebody who had some of its items
_COUNTED: Final = 10  # of a list, for its mean popularity


@kernel
def rank_of(scores: F32, target: int, taken: I32, taken_count: int) -> int:
    """Rank of an item, 1 is best: how many items score at least as much (ties count against), without those already taken.

    Args:
        scores: float32[n]. target: not among the taken ones, or they are not left out.
        taken: int32[>= taken_count], items that are left out.
    """
    threshold = scores[target]
    above = 0
    for j in range(scores.shape[0]):
        above += scores[j] >= threshold
    for k in range(taken_count):
        above -= scores[taken[k]] >= threshold
    return above


@kernel
def best(scores: F32, floor: float, k: int, marks: I64, stamp: int, heap_scores: F32, out: I32) -> int:
    """The k items with the highest scores above `floor`, best first; of equal ones those with the lower code.

    Args:
        scores: float32[n]. marks: int64[>= n]; items whose mark is `stamp` are left out (0: none is).
        heap_scores: float32[>= k], scratch. out: int32[>= k], filled.

    Returns:
        How many were found.
    """
    size = 0
    least = np.float32(floor)
    n = scores.shape[0]
    for start in range(0, n, _BLOCK):
        end = min(n, start + _BLOCK)
        candidates = 0  # counted with vector instructions: hardly any block has one
        for j in range(start, end):
            candidates += scores[j] > least
        if candidates == 0:
            continue
        for j in range(start, end):
            score = scores[j]
            if not score > least or (stamp > 0 and marks[j] == stamp):
                continue
            if size < k:  # sift up in a heap whose root is the worst of the best
                at = size
                size += 1
                while at > 0 and _worse(score, j, heap_scores[(at - 1) // 2], out[(at - 1) // 2]):
                    heap_scores[at], out[at] = heap_scores[(at - 1) // 2], out[(at - 1) // 2]
                    at = (at - 1) // 2
                heap_scores[at], out[at] = score, j
            else:
                _sift_down(heap_scores, out, size, score, j)
            if size == k:
                least = heap_scores[0]
    for last in range(size - 1, 0, -1):  # heap sort: the worst goes last
        score, j = heap_scores[last], out[last]
        heap_scores[last], out[last] = heap_scores[0], out[0]
        _sift_down(heap_scores, out, last, score, j)
    return size


@kernel
def mean_listed(item_events: I32, top: I32, out: F32) -> None:
    """Set out: float32[M] to the mean count of the first ten of each list in top: int32[M, 20], -1 where there are no more."""
    for model in range(out.shape[0]):
        total, listed = 0, 0
        for k in range(_COUNTED):
            if top[model, k] >= 0:
                total += item_events[top[model, k]]
                listed += 1
        out[model] = total / max(1, listed)


@kernel
def best_again(
    scores: F32, floor: float, k: int, marks: I64, stamp: int, heap_scores: F32, known: I32, known_count: I64, out: I32
) -> int:
    """`best`, made faster by the list of an earlier call, perhaps for somebody else: the best k score at least as much as k
    items of
    that list do, so that hardly any item needs a second look. The answer does not depend on the list.

    Args:
        known: int32[>= k + SPARE_PLACES], that list; replaced. known_count: int64[1], its length.
        out: int32[>= k], filled.
    """
    free = 0
    least = np.float32(np.inf)
    for place in range(known_count[0]):
        item = known[place]
        if item < scores.shape[0] and marks[item] != stamp:
            free += 1
            least = min(least, scores[item])
    bound = floor
    if free >= k + SPARE_PLACES // 2:
        bound = max(floor, float(least) - abs(float(least)) * 1e-6 - 1e-37)  # the last one itself must be above it
    found = best(scores, bound, k + SPARE_PLACES, marks, stamp, heap_scores, known)
    known_count[0] = found
    size = min(k, found)
    for place in range(size):
        out[place] = known[place]
    return size


@kernel
def _worse(score_a: float, a: int, score_b: float, b: int) -> bool:
    return score_a < score_b or (score_a == score_b and a > b)


@kernel
def _sift_down(heap_scores: F32, items: I32, size: int, score: float, item: int) -> None:
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _worse(heap_scores[child + 1], items[child + 1], heap_scores[child], items[child]):
            child += 1
        if not _worse(heap_scores[child], items[child], score, item):
            break
        heap_scores[at], items[at] = heap_scores[child], items[child]
        at = child
    heap_scores[at], items[at] = score, item
