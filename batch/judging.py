"""How good the answers of a trained model are: metrics over users with their intervals, by segment, and against other models."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import I64, InteractionLog
from batch.models.interface import Answers
from batch.questions import NOTHING, Questions, best_lists
from evaluation.intervals import paired_difference, user_blocked
from evaluation.metrics.exposure import coverage
from evaluation.metrics.ranking import ndcg, recall, reciprocal_rank

F64 = NDArray[np.float64]

LISTED: Final = 20
FEW: Final = 5
"""Training interactions below which a user is cold and an item new."""


class Estimate(NamedTuple):
    """A mean over users with the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


class Segment(NamedTuple):
    """Recall@10 where only some of the questions, or of their items, count; NaN without any."""

    users: int
    recall: float


class Judgement(NamedTuple):
    """What a model's lists are worth.

    Attributes:
        name: of the model. users: who was asked for.
        metrics: recall@10, recall@20, ndcg@10, mrr@20 with their intervals.
        coverage: share of the catalogue among anybody's best 10.
        segments: name to Recall@10 there.
        hits: float64[U], Recall@10 of each user, for comparisons.
    """

    name: str
    users: int
    metrics: dict[str, Estimate]
    coverage: float
    segments: dict[str, Segment]
    hits: F64


def judge(
    name: str, scorer: Answers, asked: Questions, train: InteractionLog, *, seed: int, exclude_taken: bool = True
) -> Judgement:
    """Rank all items for every user and compare with what they took.

    Segments: cold and warm users (fewer than 5 training interactions or not), new and old items (likewise), and three bands of
    popularity (`bands`).

    Args:
        asked: at least one question. seed: of the order of equal scores and the bootstrap (by user: `user_blocked`).
        exclude_taken: leave out what the user already had.
    """
    rng = np.random.default_rng(seed)
    lists = best_lists(scorer, asked, LISTED, rng, exclude_taken=exclude_taken)
    values = {
        "recall@10": recall(lists, asked.relevant, 10),
        "recall@20": recall(lists, asked.relevant, 20),
        "ndcg@10": ndcg(lists, asked.relevant, 10),
        "mrr@20": reciprocal_rank(lists, asked.relevant, 20),
    }
    interval = user_blocked(np.stack(list(values.values()), axis=1), asked.users, rng)
    estimates = zip(interval.mean.tolist(), interval.low.tolist(), interval.high.tolist(), strict=True)
    return Judgement(
        name=name,
        users=len(asked.users),
        metrics={metric: Estimate(*numbers) for metric, numbers in zip(values, estimates, strict=True)},
        coverage=coverage(lists, train.catalogue.size, 10),
        segments=_segments(lists, asked, train),
        hits=values["recall@10"],
    )


def difference(first: Judgement, second: Judgement, *, seed: int) -> Estimate:
    """Recall@10 of `first` minus that of `second`, on the same questions.

    Raises:
        ValueError: they answered different questions.
    """
    users = np.arange(len(first.hits))
    found = paired_difference(first.hits, second.hits, np.random.default_rng(seed), users)
    return Estimate(float(found.mean[0]), float(found.low[0]), float(found.high[0]))


def _segments(lists: I64, asked: Questions, train: InteractionLog) -> dict[str, Segment]:
    user_counts = np.bincount(train.users, minlength=len(train.user_ids))[asked.users]
    counts = train.item_counts
    by_users = {"cold_users": user_counts < FEW, "warm_users": user_counts >= FEW}
    by_items = {"new_items": counts < FEW, "old_items": counts >= FEW, **bands(counts)}
    found = {name: _segment(lists[chosen], asked.relevant[chosen]) for name, chosen in by_users.items()}
    for name, chosen in by_items.items():
        found[name] = _segment(lists, np.where((asked.relevant != NOTHING) & chosen[asked.relevant], asked.relevant, NOTHING))
    return found


def _segment(lists: I64, relevant: I64) -> Segment:
    """Recall@10 of the users with anything relevant."""
    some = (relevant != NOTHING).any(axis=1)
    return Segment(int(some.sum()), float(recall(lists[some], relevant[some], 10).mean()) if some.any() else float("nan"))


def bands(counts: I64) -> dict[str, NDArray[np.bool_]]:
    """Three sets of items, each with about a third of all interactions: `head` the most popular, `middle`, `tail`.

    >>> {name: np.flatnonzero(chosen).tolist() for name, chosen in bands(np.array([1, 6, 1, 5, 3, 0])).items()}
    {'head': [1], 'middle': [3], 'tail': [0, 2, 4, 5]}
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    third = np.empty(len(counts), np.int64)
    third[order] = np.minimum(3 * before // max(int(counts.sum()), 1), 2)
    return {name: third == number for number, name in enumerate(("head", "middle", "tail"))}
