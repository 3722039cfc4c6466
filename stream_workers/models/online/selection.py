"""Ranks and best lists over dense scores."""

from __future__ import annotations

from stream_workers.models.online.numeric import F32, I32, I64, kernel


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
    least = floor
    for j in range(scores.shape[0]):
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
            if size == k:
                least = heap_scores[0]
        else:
            _sift_down(heap_scores, out, size, score, j)
            least = heap_scores[0]
    for last in range(size - 1, 0, -1):  # heap sort: the worst goes last
        score, j = heap_scores[last], out[last]
        heap_scores[last], out[last] = heap_scores[0], out[0]
        _sift_down(heap_scores, out, last, score, j)
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
