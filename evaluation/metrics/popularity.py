"""Popularity bias: how popular the recommended items are, and whether they are more popular than what the user takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evaluation.metrics.arrays import F64, I64, Sets, as_amounts, mean_of_best


def average_popularity(lists: ArrayLike, popularity: ArrayLike, k: int) -> F64:
    """Mean popularity of the best k, ARP_u = 1 / n * sum_i popularity_i (Yin et al., VLDB 2012).

    Args:
        lists: item codes [U, L], best first, -1 at the end.
        popularity: how often each item was taken, [items].

    Returns:
        float64[U]; 0 for an empty list.

    Raises:
        ValueError: wrong lists or k, an item outside `popularity`, negative counts or NaN.

    >>> average_popularity([[0, 1], [2, -1]], popularity=[10, 4, 2], k=2)
    array([7., 2.])
    """
    return mean_of_best(lists, as_amounts("popularity", popularity), k)


def popularity_lift(lists: ArrayLike, profiles: Sets, popularity: ArrayLike, k: int) -> float:
    """How much more popular recommendations are than what the same users took: (GAP_q - GAP_p) / GAP_p.

    GAP is the mean over users of the mean popularity of their items: q in their lists, p in their profiles (Abdollahpouri et al.,
    RecSys 2020). 0: no bias; 1: twice as popular. Users without a profile are left out.

    Args:
        profiles: U sets of item codes, what each user took.

    Raises:
        ValueError: as `average_popularity`, or no user has a profile of items that anybody took.

    >>> popularity_lift([[0, 1]], profiles=[[1, 2]], popularity=[10, 4, 2], k=2).__round__(3)
    1.333
    """
    recommended = average_popularity(lists, popularity, k)
    if len(profiles) != len(recommended):
        raise ValueError(f"profiles: {len(profiles)} sets for {len(recommended)} lists; expected one for each")
    codes = _padded(profiles)
    taken = average_popularity(codes, popularity, max(codes.shape[1], 1))
    known = (codes >= 0).any(axis=1)
    usual = taken[known].mean() if known.any() else 0.0
    if usual <= 0:
        raise ValueError("profiles: no user has taken an item of any popularity, so there is nothing to compare with")
    return float(recommended[known].mean() / usual - 1)


def _padded(sets: Sets) -> I64:
    """The sets as rows of different codes, filled up with -1."""
    rows = [np.unique(np.asarray(one, np.int64)) for one in sets]
    rows = [row[row >= 0] for row in rows]
    padded = np.full((len(rows), max(map(len, rows), default=0)), -1)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    return padded
