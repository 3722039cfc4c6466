"""Ranks and best lists over dense scores."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream_workers.models.online.numeric import F32, I32, kernel

_BLOCK: Final = 64
_LOWEST: Final = np.int32(-(2**31))
_MAGNITUDE: Final = np.int32(0x7FFFFFFF)
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
def hide(scores: F32, taken: I32, taken_count: int) -> None:
    """Set the scores of items, the first `taken_count` of taken: int32, to -infinity: neither `best` nor `rank_of` sees them."""
    for k in range(taken_count):
        scores[taken[k]] = -np.inf


@kernel
def best(scores: F32, floor: float, k: int, heap_scores: F32, out: I32) -> int:
    """The k items with the highest scores above `floor`, best first; of equal ones those with the lower code.

    Args:
        scores: float32[n], no NaN. heap_scores: float32[>= k], scratch. out: int32[>= k], filled.

    Returns:
        How many were found.
    """
    size = 0
    n = scores.shape[0]
    peaks = _peaks(scores)
    least = np.float32(max(floor, _bound(peaks, k)))
    for block in range(peaks.shape[0]):
        if peaks[block] <= least:  # hardly any block has a candidate
            continue
        for j in range(block * _BLOCK, min(n, (block + 1) * _BLOCK)):
            if scores[j] > least:
                size = push(heap_scores, out, size, k, scores[j], j)
                if size == k:
                    least = heap_scores[0]
    sort_heap(heap_scores, out, size)
    return size


@kernel
def push(heap_scores: F32, out: I32, size: int, k: int, score: float, item: int) -> int:
    """Take an item into a heap whose root is the worst of the best k; returns how many are in it."""
    if size < k:  # sift up
        at = size
        while at > 0 and _worse(score, item, heap_scores[(at - 1) // 2], out[(at - 1) // 2]):
            heap_scores[at], out[at] = heap_scores[(at - 1) // 2], out[(at - 1) // 2]
            at = (at - 1) // 2
        heap_scores[at], out[at] = score, item
        return size + 1
    if k > 0 and _worse(heap_scores[0], out[0], score, item):
        _sift_down(heap_scores, out, size, score, item)
    return size


@kernel
def sort_heap(heap_scores: F32, out: I32, size: int) -> None:
    """Bring what was pushed into order, best first; of equal ones those with the lower code."""
    for last in range(size - 1, 0, -1):  # the worst goes last
        score, item = heap_scores[last], out[last]
        heap_scores[last], out[last] = heap_scores[0], out[0]
        _sift_down(heap_scores, out, last, score, item)


@kernel
def _peaks(scores: F32) -> F32:
    """The largest score of each block."""
    bits = scores.view(np.int32)
    blocks = (scores.shape[0] + _BLOCK - 1) // _BLOCK
    peaks = np.empty(blocks, np.int32)
    for block in range(blocks):
        peak = _LOWEST
        for j in range(block * _BLOCK, min(scores.shape[0], (block + 1) * _BLOCK)):
            peak = max(peak, _ordered(bits[j]))
        peaks[block] = _ordered(peak)
    return peaks.view(np.float32)


@kernel
def _ordered(bits: np.int32) -> np.int32:
    """The bits of a float32 as an int32 that is larger when the float is (maxima of integers use vector instructions), and back."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & _MAGNITUDE))


@kernel
def _bound(peaks: F32, wanted: int) -> float:
    """A score that at least `wanted` items exceed: as many blocks have a peak above it."""
    blocks = peaks.shape[0]
    if wanted > blocks:
        return -np.inf
    bound = np.partition(peaks, blocks - wanted)[blocks - wanted : blocks - wanted + 1]
    if not np.isfinite(bound[0]):
        return -np.inf
    bits = bound.view(np.int32)
    bits[0] = _ordered(_ordered(bits[0]) - np.int32(2))  # two steps below, because one below 0.0 is -0.0
    return bound[0]


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
