"""The most popular items of a partition, kept without ever rescanning it.

All decayed counts of one half-life shrink by the same factor, so their order only changes when an item gets an event. The best of
{the best before} and {items touched since} are therefore the best of all. Window counts also fall when buckets expire: their order
is exact among the candidates, and an item that is strong in a window is a candidate through the half-life nearest to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def decayed_at(now: int, newest: I64, decayed: F64, half_lives_ms: F64) -> F64:
    """Decayed counts of D items at one moment.

    Args:
        now: ms. newest: int64[D], ms. decayed: float64[D, H] at `newest`. half_lives_ms: float64[H].

    Returns:
        float64[D, H].
    """
    elapsed = np.maximum(now - newest, 0)[:, None]
    return np.asarray(decayed * np.exp2(-elapsed / half_lives_ms), np.float64)


def strongest(scores: NDArray[np.float64], keep: int) -> I64:
    """Rows of D x S scores that are among the `keep` best of at least one column, in ascending order.

    >>> strongest(np.array([[9.0, 0.0], [1.0, 1.0], [0.0, 5.0]]), 1).tolist()
    [0, 2]
    """
    if len(scores) <= keep:
        return np.arange(len(scores))
    best = np.argpartition(scores, len(scores) - keep, axis=0)[len(scores) - keep :]
    return np.unique(best)
