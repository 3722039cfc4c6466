"""The best few of items that come one by one, in any order."""

from __future__ import annotations

from stream_workers.models.online.numeric import F32, I32, kernel


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


@kernel
def _worse(score_a: float, a: int, score_b: float, b: int) -> bool:
    return score_a < score_b or (score_a == score_b and a > b)
