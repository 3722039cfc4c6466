"""Relevance adjusted before a list is made: less for what is popular anyway, more for what is new to the person."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.ranking.greedy import scaled

F64 = NDArray[np.float64]
_FLOOR: Final = 0.01  # popularity of what is in no list of popular items, relative to the most popular


def damped(relevance: F64, popularity: F64, strength: float) -> F64:
    """Relevance with less of the popularity in it: r_i * pop_i^-strength, brought to [0, 1] (Steck, RecSys 2011).

    Args:
        relevance: float64[N] in [0, 1]. popularity: float64[N], relative to the most popular, [0, 1]; at least _FLOOR counts.
        strength: [0, 1]; 0: the relevance as it is.

    >>> damped(np.array([1.0, 0.8, 0.0]), np.array([1.0, 0.25, 0.25]), 0.5).tolist()
    [0.625, 1.0, 0.0]
    """
    if strength == 0:
        return relevance
    return scaled(relevance * np.power(np.maximum(popularity, _FLOOR), -strength))


def novelty(popularity: F64) -> F64:
    """How little an item is known, [0, 1]: log2(pop_i) / log2(_FLOOR), its self-information in units of that of an unknown one.

    (-log2 p as in Zhou et al., PNAS 2010, and Vargas and Castells, RecSys 2011; p relative to the most popular item.)

    >>> novelty(np.array([0.1, 0.0])).tolist()
    [0.5, 1.0]
    """
    return np.log2(np.maximum(popularity, _FLOOR)) / float(np.log2(_FLOOR))


def serendipity(relevance: F64, vectors: F64, past: F64) -> F64:
    """Relevant and unexpected, [0, 1]: r_i * (1 - max over past items j: cos(i, j)) (Vargas and Castells, RecSys 2011).

    Args:
        relevance: float64[N]. vectors: float64[N, T] of length 1 or 0. past: float64[M, T], what the person took.

    >>> serendipity(np.array([1.0, 1.0]), np.eye(2), np.array([[1.0, 0.0]])).tolist()
    [0.0, 1.0]
    """
    likest: F64 = (vectors @ past.T).max(axis=1, initial=0.0)
    return relevance * (1 - likest)


def mixed_in(relevance: F64, bonus: F64, weight: float) -> F64:
    """(1 - weight) * relevance + weight * bonus; the relevance itself for weight 0."""
    return (1 - weight) * relevance + weight * bonus if weight > 0 else relevance
