"""One order for several people: how much each of them gains by an item, and three ways to make one number of it.

    satisfaction(m, j) = 1 - ln(rank of j for m) / ln(N)         of N candidates; 1: m's first choice, 0: the last

    average(j) = mean over the members, least_misery(j) = min, most_pleasure(j) = max          (Masthoff, Group recommender systems:
                                                                           combining individual models, 2011; O'Connor et al., 2001)

Ranks and not scores, because the scores of two people have no common scale: a model is sure of somebody with a long history and not
of a newcomer, and with its probabilities the one it is sure of would decide for all. By their ranks everybody has the same to give
away. The logarithm makes the first places far apart and the last ones close, as people mean them (Masthoff, Group modeling, 2004:
the step from 9 to 10 is more than that from 5 to 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Strategy = Literal["average", "least_misery", "most_pleasure"]


def ranks(scores: F64) -> F64:
    """Place of each score in its row, 1 for the largest, float64[M, N]; equals share the mean of their places.

    >>> ranks(np.array([[0.5, 0.9, 0.5, 0.1]])).tolist()
    [[2.5, 1.0, 2.5, 4.0]]
    """
    return np.array([_ranks(row) for row in scores]).reshape(scores.shape)


def _ranks(row: F64) -> F64:
    _, place, counts = np.unique(-row, return_inverse=True, return_counts=True)
    means: F64 = np.cumsum(counts) - (counts - 1) / 2
    return means[place]


def satisfaction(places: F64) -> F64:
    """What each member gains by each item, float64[M, N] in [0, 1]; a single candidate is everybody's first choice.

    Args:
        places: float64[M, N], as of `ranks`.

    >>> satisfaction(np.array([[1.0, 2.0, 4.0, 3.0]])).round(2).tolist()
    [[1.0, 0.5, 0.0, 0.21]]
    """
    candidates = places.shape[1]
    if candidates < 2:
        return np.ones_like(places)
    return np.asarray(1.0 - np.log(places) / np.log(candidates), np.float64)


def aggregated(gains: F64, strategy: Strategy) -> F64:
    """What the group gains by each item, float64[N]; the same, to the last bit, in whichever order the members come.

    Args:
        gains: float64[M, N], M >= 1.

    >>> gains = np.array([[1.0, 0.5], [0.0, 0.25]])
    >>> [aggregated(gains, strategy).tolist() for strategy in ("average", "least_misery", "most_pleasure")]
    [[0.5, 0.375], [0.0, 0.25], [1.0, 0.5]]
    """
    if strategy == "least_misery":
        return np.asarray(gains.min(axis=0), np.float64)
    if strategy == "most_pleasure":
        return np.asarray(gains.max(axis=0), np.float64)
    return np.asarray(np.sort(gains, axis=0).mean(axis=0), np.float64)


def group_order(gains: F64, strategy: Strategy, names: Sequence[str]) -> I64:
    """int64[N], the items best first. Of equals the one with the better average, then the one whose name comes first.

    Args:
        gains: float64[M, N]. names: of the items, all different.

    >>> group_order(np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0]]), "least_misery", ["a", "b", "c"]).tolist()
    [0, 1, 2]
    """
    return np.lexsort((np.array(names), -aggregated(gains, "average"), -aggregated(gains, strategy)))
