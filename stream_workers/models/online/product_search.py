"""The items with the largest logits of a factor model: exact maximum inner product search with the bounds of `Standing`."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream_workers.models.online.numeric import F32, I32, dot, kernel
from stream_workers.models.online.selection import best
from stream_workers.models.online.world import SPARE, Person, Scratch

_MARGIN: Final = np.float32(1e-4)  # far above what rounding does to a logit


@kernel
def search_products(
    vector: F32, rows: F32, fixed: F32, lengths: F32, first: I32, person: Person, scratch: Scratch, reached: I32, k: int, out: I32
) -> int:  # fmt: skip
    """The k items with the largest vector . rows[j] + fixed[j] that may be shown, best first, exactly.

    Args:
        fixed: float32[n]. lengths: float32[>= n], of the rows.
        first: int32, items that may be shown and are likely to be among the best: they say what must be exceeded.
        reached: int32[> n], scratch. out: int32[>= k], filled.

    Returns:
        How many were found.
    """
    scores = scratch.scores[SPARE]
    products(vector, rows, fixed, first, first.shape[0], scores)
    bar = np.float32(-np.inf)
    if first.shape[0] >= k > 0:
        best(scores[: first.shape[0]], -np.inf, k, out)
        least = scores[out[k - 1]]
        bar = least - _MARGIN * (np.float32(1.0) + abs(least))
    length = np.float32(np.sqrt(dot(vector, vector)))
    count = 0
    for j in range(fixed.shape[0]):  # without a branch: which of them exceed the bar is hard to foresee
        reached[count] = j
        count += fixed[j] + length * lengths[j] > bar
    products(vector, rows, fixed, reached, count, scores)
    for n in range(count):
        if person.marks[reached[n]] == person.stamp[0]:
            scores[n] = -np.inf
    found = best(scores[:count], -1e30, k, out)
    for n in range(found):
        out[n] = reached[out[n]]
    return found


@kernel
def products(vector: F32, rows: F32, fixed: F32, items: I32, count: int, out: F32) -> None:
    """Set out[:count] to the logits of the first `count` items."""
    for n in range(count):
        row = rows[items[n]]
        total = np.float32(0.0)
        for d in range(vector.shape[0]):
            total += vector[d] * row[d]
        out[n] = total + fixed[items[n]]
