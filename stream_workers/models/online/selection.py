"""Ranks and best lists over dense scores."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream_workers.models.online.numeric import F32, I32, I64, kernel

_BLOCK: Final = 16
_LOWEST: Final = np.int32(-(2**31))
_MAGNITUDE: Final = np.int32(0x7FFFFFFF)
_LAST_CODE: Final = np.int64(0x7FFFFFFF)
_ROOM: Final = 256  # candidates that are gathered before the best are kept
_COUNTABLE: Final = 512  # keys that are ordered by counting
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
def best(scores: F32, floor: float, k: int, out: I32) -> int:
    """The k items with the highest scores above `floor`, best first; of equal ones those with the lower code.

    A bound that k blocks exceed leaves little more than k items to be ordered.

    Args:
        scores: float32[n], no NaN. out: int32[>= k], filled.

    Returns:
        How many were found.
    """
    if k <= 0:
        return 0
    bits = scores.view(np.int32)
    peaks = _peaks(bits)
    lowest = np.empty(1, np.float32)
    lowest[0] = floor
    least = max(np.int64(_ordered(lowest.view(np.int32)[0])), _bound(peaks, k))
    room = max(_ROOM, 2 * k)
    keys, ordered = np.empty(room + _BLOCK, np.int64), np.empty(k, np.int64)
    size, n = 0, scores.shape[0]
    for block in range(peaks.shape[0]):
        if peaks[block] <= least:  # hardly any block has a candidate
            continue
        for j in range(block * _BLOCK, min(n, (block + 1) * _BLOCK)):
            score = np.int64(_ordered(bits[j]))
            keys[size] = (score << 32) | (_LAST_CODE - j)  # larger is better, and no two are equal
            size += score > least
        if size >= room:
            size = _keep_best(keys, size, ordered)
            least = keys[size - 1] >> 32
    size = _keep_best(keys, size, ordered)
    for place in range(size):
        out[place] = np.int32(_LAST_CODE - (keys[place] & _LAST_CODE))
    return size


@kernel
def _keep_best(keys: I64, size: int, ordered: I64) -> int:
    """Bring the best of the first `size` keys to the front, in order; as many as `ordered` has room for. Returns how many.

    A key's place is how many are larger: no branches, and vector instructions count.
    """
    kept = min(size, ordered.shape[0])
    if size > _COUNTABLE:
        keys[:size] = np.sort(keys[:size])[::-1]
        return kept
    for a in range(size):
        key, place = keys[a], 0
        for b in range(size):
            place += keys[b] > key
        if place < kept:
            ordered[place] = key
    keys[:kept] = ordered[:kept]
    return kept


@kernel
def _peaks(bits: I32) -> I32:
    """The largest score of each block, see `_ordered`."""
    n = bits.shape[0]
    full = n // _BLOCK
    peaks = np.empty((n + _BLOCK - 1) // _BLOCK, np.int32)
    for block in range(full):
        peak = _LOWEST
        for j in range(block * _BLOCK, block * _BLOCK + _BLOCK):
            peak = max(peak, _ordered(bits[j]))
        peaks[block] = peak
    if full < peaks.shape[0]:
        peak = _LOWEST
        for j in range(full * _BLOCK, n):
            peak = max(peak, _ordered(bits[j]))
        peaks[full] = peak
    return peaks


@kernel
def _ordered(bits: np.int32) -> np.int32:
    """The bits of a float32 as an int32 that is larger when the float is (maxima of integers use vector instructions)."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & _MAGNITUDE))


@kernel
def _bound(peaks: I32, wanted: int) -> np.int64:
    """A number that at least `wanted` peaks exceed, and not many more, by bisection; below all where there are fewer peaks."""
    low, high = np.int64(_LOWEST) - 1, np.int64(_LOWEST)
    if peaks.shape[0] < wanted:
        return low
    for block in range(peaks.shape[0]):
        high = max(high, np.int64(peaks[block]))
    while high - low > 1:
        middle = (low + high) >> 1
        bound, count = np.int32(middle), 0
        for block in range(peaks.shape[0]):
            count += peaks[block] > bound
        if count < wanted:
            high = middle
            continue
        low = middle
        if count <= wanted + wanted // 8:
            break
    return low


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
