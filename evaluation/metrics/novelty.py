"""How little a person expects the recommendations: novelty by popularity, serendipity against an obvious list."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evaluation.metrics.arrays import F64, Sets, as_amounts, as_lists, checked_k, mean_of_best, members, ratio


def novelty(lists: ArrayLike, popularity: ArrayLike, k: int) -> F64:
    """Mean self-information of the best k, in bits: mean of -log2(popularity_i / sum of popularity).

    (Zhou et al., PNAS 2010; Vargas and Castells, RecSys 2011.) An item that nobody took counts as taken once.

    Args:
        lists: item codes [U, L], best first, -1 at the end.
        popularity: how often each item was taken, [items].

    Returns:
        float64[U]; 0 for an empty list.

    Raises:
        ValueError: wrong lists or k, an item outside `popularity`, negative counts or NaN.

    >>> novelty([[0, 1], [2, -1]], popularity=[4, 2, 2], k=2)
    array([1.5, 2. ])
    """
    return mean_of_best(lists, self_information(as_amounts("popularity", popularity)), k)


def self_information(counts: F64) -> F64:
    """-log2 p of each item, in bits, p its share of all events: float64[items]; a count of 0 is taken as 1.

    >>> self_information(np.array([4.0, 4.0]))
    array([1., 1.])
    """
    return np.asarray(np.log2(max(counts.sum(), 1.0)) - np.log2(np.maximum(counts, 1.0)), np.float64)


def serendipity(lists: ArrayLike, expected: Sets, relevant: Sets, k: int) -> F64:
    """Share of the best k that is relevant and not obvious: |(best k - expected) & relevant| / k.

    (Ge, Delgado-Battenfeld and Jannach, RecSys 2010.) `expected` is what a primitive recommender gives the same user, such as
    the most popular items.

    Args:
        lists: item codes [U, L], best first, -1 at the end.
        expected, relevant: U sets of item codes.

    Returns:
        float64[U].

    Raises:
        ValueError: wrong lists, sets or k.

    >>> serendipity([[3, 1, 2, 7]], expected=[[1, 9]], relevant=[[1, 2, 3]], k=4)
    array([0.5])
    """
    codes = as_lists("lists", lists, checked_k(k))
    surprising = members("relevant", codes, relevant) & ~members("expected", codes, expected)
    return ratio(surprising.sum(axis=1), k)
