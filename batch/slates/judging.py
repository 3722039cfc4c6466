"""How well scores order slates: NDCG@10 and MRR of each slate with a click, ties broken by lot."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from batch.slates.columns import F64, I64, Bools
from evaluation.metrics.ranking import ndcg, reciprocal_rank

CUT_OFF: Final = 10


class Quality(NamedTuple):
    """NDCG@10 and reciprocal rank of each list with a click: float64[U] each."""

    ndcg: F64
    reciprocal_rank: F64


def quality(scores: F64, shown: Bools, clicked: Bools, seed: int) -> Quality:
    """Judge scores of U lists; binary gain, and an item's place is its own: ties are broken by lot.

    Args:
        scores: [U, W], higher is better. shown: bool[U, W], where there is an item. clicked: bool[U, W].

    >>> one = np.array([[True, True, True]])
    >>> quality(np.array([[3.0, 2.0, 1.0]]), one, np.array([[False, True, False]]), seed=1).reciprocal_rank
    array([0.5])
    """
    judged = clicked.any(axis=1)
    lists = ranked(scores[judged], shown[judged], seed)
    relevant = np.where(clicked[judged], np.arange(clicked.shape[1]), -1)
    return Quality(ndcg(lists, relevant, CUT_OFF), reciprocal_rank(lists, relevant, max(lists.shape[1], 1)))


def ranked(scores: F64, shown: Bools, seed: int) -> I64:
    """Places of the items by falling score, -1 behind the last item: int64[U, W]; the lot is a function of `seed`."""
    lots = np.random.default_rng(seed).random(scores.shape)
    order = np.lexsort((lots, np.where(shown, -scores, np.inf)), axis=1)
    return np.where(np.arange(scores.shape[1]) < shown.sum(axis=1)[:, None], order, -1).astype(np.int64)
