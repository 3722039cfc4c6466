"""Reranking: one item after the other, each the one that adds most to those that are chosen already.

    next = argmax over the items i that are left:  value_i,   value = fold of (1 - w_t) * value + w_t * gain_t(i) over the terms t,

beginning with value_i = relevance of i in [0, 1]. With one term this is what the term's paper says; several are mixed in
their order. Equals go to the one that stood first. Nothing is lost and nothing comes twice: with k = N it is a permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_BEHIND: Final = 1e6  # larger than any value


class Term(Protocol):
    """What a list gains by an item beyond its relevance.

    Attributes:
        weight: share of the gain in the value, [0, 1].
    """

    weight: float

    def gains(self) -> F64:
        """float64[N]: what each item of the pool would add if it came next."""

    def take(self, item: int) -> None:
        """The item, an index of the pool, comes next."""


class Bar(Protocol):
    """Holds items back for as long as there are others."""

    def barred(self) -> NDArray[np.bool_]:
        """bool[N]: the items that should not come next."""

    def take(self, item: int) -> None:
        """The item comes next."""


def scaled(scores: F64) -> F64:
    """Scores brought to [0, 1], (s - min) / (max - min); all 1 where they are equal.

    >>> scaled(np.array([3.0, 2.0, 1.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    if not len(scores):
        return scores
    lowest, highest = scores.min(), scores.max()
    return (scores - lowest) / (highest - lowest) if highest > lowest else np.ones_like(scores)


def greedy(relevance: F64, terms: Sequence[Term], k: int, bar: Bar | None = None) -> I64:
    """int64[min(k, N)], indices into the pool, in the order in which they are to be shown.

    Args:
        relevance: float64[N] in [0, 1], best first. terms: those of weight 0 say nothing; without any other and without a bar the
            order stays exactly as it is.
        bar: what it holds back comes behind all others, so that a bar never makes a list shorter.
    """
    count, heard = min(k, len(relevance)), [term for term in terms if term.weight > 0]
    if not heard and bar is None:
        return np.arange(count)
    order = np.zeros(count, np.int64)
    out = np.zeros(len(relevance))
    for place in range(count):
        value = relevance
        for term in heard:
            value = (1 - term.weight) * value + term.weight * term.gains()
        if bar is not None:
            value = value - _BEHIND * bar.barred()
        order[place] = item = int(np.argmax(value + out))
        out[item] = -np.inf
        for term in heard:
            term.take(item)
        if bar is not None:
            bar.take(item)
    return order
