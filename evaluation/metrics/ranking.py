"""How well ranked lists find what is relevant: hit rate, Recall, Precision, MRR, MAP, NDCG. Relevance is yes or no.

Throughout, hit_r is 1 if the item in place r (from 1) is relevant, R the number of relevant items of the user, k the cut-off.
A user with nothing relevant gets 0, as in trec_eval. k may exceed the lists' length: the missing places hold nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evaluation.metrics.arrays import F64, Sets, as_lists, checked_k, members, ratio, set_sizes


def hit_rate(lists: ArrayLike, relevant: Sets, k: int) -> F64:
    """1 for each list with a relevant item among its best k, else 0: max_{r<=k} hit_r.

    With one relevant item per list this is Recall@k.

    Args:
        lists: item codes [U, L], best first, -1 at the end.
        relevant: U sets of item codes.

    Returns:
        float64[U].

    Raises:
        ValueError: see `as_lists` and `members`; so for all metrics of this file.

    >>> hit_rate([[3, 1, 2], [4, 5, 6]], [[2], [9]], k=3)
    array([1., 0.])
    """
    hits: F64 = _hits(lists, relevant, k).max(axis=1, initial=0.0)
    return hits


def recall(lists: ArrayLike, relevant: Sets, k: int) -> F64:
    """Share of the relevant items that are among the best k: sum_{r<=k} hit_r / R.

    >>> recall([[3, 1, 2]], [[2, 3, 8, 9]], k=3)
    array([0.5])
    """
    hits = _hits(lists, relevant, k)
    return ratio(hits.sum(axis=1), set_sizes("relevant", relevant, len(hits)))


def precision(lists: ArrayLike, relevant: Sets, k: int) -> F64:
    """Share of the best k places that hold a relevant item: sum_{r<=k} hit_r / k. A list shorter than k is not excused.

    >>> precision([[3, 1, 2, -1]], [[2, 3]], k=4)
    array([0.5])
    """
    return ratio(_hits(lists, relevant, k).sum(axis=1), k)


def reciprocal_rank(lists: ArrayLike, relevant: Sets, k: int) -> F64:
    """1 / r of the first relevant item if r <= k, else 0; its mean is MRR@k (Voorhees, TREC-8, 1999).

    >>> reciprocal_rank([[3, 1, 2], [4, 5, 6]], [[2, 1], [9]], k=3)
    array([0.5, 0. ])
    """
    hits = _hits(lists, relevant, k)
    best: F64 = (hits / _places(hits)).max(axis=1, initial=0.0)
    return best


def average_precision(lists: ArrayLike, relevant: Sets, k: int) -> F64:
    """Precision at the place of each relevant item, averaged over all relevant items; its mean is MAP@k.

    AP@k = 1 / R * sum_{r<=k} hit_r * (sum_{s<=r} hit_s) / r (Buckley and Voorhees, SIGIR 2000), with R and not min(R, k), as in
    trec_eval's map_cut.

    >>> average_precision([[3, 1, 2]], [[3, 2]], k=3)
    array([0.83333333])
    """
    hits = _hits(lists, relevant, k)
    found = (hits * np.cumsum(hits, axis=1) / _places(hits)).sum(axis=1)
    return ratio(found, set_sizes("relevant", relevant, len(hits)))


def ndcg(lists: ArrayLike, relevant: Sets, k: int) -> F64:
    """Discounted gain of the best k relative to that of the best possible list (Järvelin and Kekäläinen, TOIS 2002).

    NDCG@k = sum_{r<=k} hit_r / log2(r + 1)  /  sum_{r<=min(k, R)} 1 / log2(r + 1).

    >>> ndcg([[3, 1, 2], [2, 3, 1]], [[3, 2], [3, 2]], k=3)
    array([0.91972079, 1.        ])
    """
    hits = _hits(lists, relevant, k)
    gained = (hits / np.log2(1 + _places(hits))).sum(axis=1)
    sizes = np.minimum(set_sizes("relevant", relevant, len(hits)), k)
    best = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(2, sizes.max(initial=0) + 2)))))[sizes]
    return ratio(gained, best)


def _hits(lists: ArrayLike, relevant: Sets, k: int) -> F64:
    """hit_r as float64[U, min(k, L)]."""
    codes = as_lists("lists", lists, checked_k(k))
    return members("relevant", codes, relevant).astype(np.float64)


def _places(hits: F64) -> F64:
    return np.arange(1.0, hits.shape[1] + 1)
