"""What diversity costs: the same questions answered with every value of the knob, and each list judged by all that it trades.

One event is one question (see `protocol`); its list is reranked with S values of the knob. Relevance is whether the item that was
taken is in the list; the others are properties of the list itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.arrays import F64, I64
from evaluation.metrics.calibration import miscalibration
from evaluation.metrics.diversity import category_coverage, intra_list_diversity
from evaluation.metrics.single_target import hit_at, ndcg_at

K = 10
Metric = Callable[[I64], F64]


class Answers(NamedTuple):
    """Q questions in time order, answered with S values of the knob.

    Attributes:
        lists: int64[S, Q, K], item codes, best first, -1 at the end.
        targets: int64[Q], code of the item that was taken.
        profiles: int64[Q, H], codes of what the user had taken before, -1 at the end.
        popularity: float64[S, Q], mean count of the list's items at that moment.
    """

    lists: I64
    targets: I64
    profiles: I64
    popularity: F64


def judged(answers: Answers, features: NDArray[np.float64]) -> dict[str, F64]:
    """Every metric of every answer, float64[Q, S] each, by its name.

    Args:
        features: float64[items, categories], 1 where an item has a category.
    """
    ranks = np.stack([ranks_of(answers.targets, lists) for lists in answers.lists], axis=1)
    return {
        "recall@10": hit_at(ranks, K),
        "ndcg@10": ndcg_at(ranks, K),
        "intra_list_diversity": _of_each(answers, lambda lists: intra_list_diversity(lists, features, K)),
        "category_coverage": _of_each(answers, lambda lists: category_coverage(lists, features, K)),
        "miscalibration": _of_each(answers, lambda lists: miscalibration(lists, answers.profiles, features, K)),
        "mean_popularity": answers.popularity.T,
    }


def _of_each(answers: Answers, metric: Metric) -> F64:
    return np.stack([metric(lists) for lists in answers.lists], axis=1)


def ranks_of(targets: I64, lists: I64) -> I64:
    """Place of each target in its list, from 1; 0 where it is not there: int64[Q].

    >>> ranks_of(np.array([7, 7]), np.array([[3, 7], [4, 5]])).tolist()
    [2, 0]
    """
    found = lists == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0).astype(np.int64)
