"""The same metrics where one event is one question: a single relevant item, of which only the rank is known.

Ranks count from 1; 0 says that the item was not ranked at all (never seen before), which is a miss. With one relevant item,
Recall@k is the hit rate, the ideal DCG is 1, and MRR@k is cut off at k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.metrics.arrays import F64, checked_k, ratio


def hit_at(ranks: ArrayLike, k: int) -> F64:
    """Recall@k of each question: 1 if 0 < rank <= k, else 0.

    Args:
        ranks: integers of any shape, at least 0.

    Returns:
        float64 of the same shape.

    Raises:
        ValueError: ranks that are not integers or negative, or k < 1; so for all metrics of this file.

    >>> hit_at([1, 10, 11, 0], 10)
    array([1., 1., 0., 0.])
    """
    checked = _as_ranks(ranks)
    return ((checked > 0) & (checked <= checked_k(k))).astype(np.float64)


def ndcg_at(ranks: ArrayLike, k: int) -> F64:
    """NDCG@k of each question: 1 / log2(1 + rank) if it is a hit, else 0.

    >>> ndcg_at([1, 3, 11, 0], 10)
    array([1. , 0.5, 0. , 0. ])
    """
    return ratio(hit_at(ranks, k), np.log2(1 + np.maximum(_as_ranks(ranks), 1)))


def reciprocal_rank_at(ranks: ArrayLike, k: int) -> F64:
    """1 / rank of each question if it is a hit, else 0; its mean is MRR@k.

    >>> reciprocal_rank_at([1, 4, 21, 0], 20)
    array([1.  , 0.25, 0.  , 0.  ])
    """
    return ratio(hit_at(ranks, k), np.maximum(_as_ranks(ranks), 1))


def _as_ranks(ranks: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(ranks)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"ranks: expected integers, got {array.dtype}")
    if array.size and array.min() < 0:
        raise ValueError(f"ranks: {array.min()} is no rank; expected 1 and above, or 0 for an item that was not ranked")
    return array.astype(np.int64)
