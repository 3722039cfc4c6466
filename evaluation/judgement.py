"""What a replay's record says about each model: the metrics with their confidence, by segment, and how they changed over time."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Interval, paired_difference, time_blocked
from evaluation.metrics.exposure import gini_of
from evaluation.metrics.novelty import self_information
from evaluation.metrics.single_target import hit_at, ndcg_at, reciprocal_rank_at
from evaluation.prequential import Record
from stream_workers.models.online.scoreboard import COLD_HISTORY, NEW_ITEM

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

CURVE_POINTS: Final = 120
_SHORTEST_WINDOW: Final = 200


class Curve(NamedTuple):
    """Rolling Recall@10 at P points.

    Attributes:
        events: int64[P], events learnt so far. times: int64[P], event time, ms.
        recall: float64[P, M], mean over the last `window` questions.
    """

    window: int
    events: NDArray[np.int64]
    times: NDArray[np.int64]
    recall: F64


class Judgement(NamedTuple):
    """The result of a prequential evaluation; M models.

    Attributes:
        names: the models.
        questions: how many count; of them `new_items` ask for an item never seen before, `reachable` for one that the blend had
            among its candidates.
        metrics: name to float64[M]; empty where no question counts.
        recall: interval of Recall@10.
        difference: interval of Recall@10 minus that of `reference`, on the same questions.
        reference: the model that others are compared with: the blend where there is one, else the best.
        segments: name to (questions, metrics).
        curve: over all questions, the warm-up too.
    """

    names: tuple[str, ...]
    questions: int
    new_items: int
    reachable: int
    metrics: dict[str, F64]
    recall: Interval | None
    difference: Interval | None
    reference: str | None
    segments: dict[str, tuple[int, dict[str, F64]]]
    curve: Curve


def judge(record: Record, rng: np.random.Generator) -> Judgement:
    """Mean metrics over the questions that count.

    recall@k, ndcg@10, mrr@20: `metrics.single_target`; coverage, gini: `metrics.exposure`, over the items seen at the end;
    novelty: bits per recommended item, its share of the stream's events known in hindsight (`metrics.novelty`); mean_popularity:
    of the top 10, events so far.

    Args:
        rng: for the bootstrap.
    """
    counted = record.counted
    number = int(counted.sum())
    hits = hit_at(record.ranks[counted], 10)
    reference = int(np.argmax(hits.sum(axis=0))) if number else 0
    if "blend" in record.names:
        reference = record.names.index("blend")
    return Judgement(
        names=record.names,
        questions=number,
        new_items=int((record.ranks[counted] <= 0).all(axis=1).sum()),
        reachable=int(record.reachable[counted].sum()),
        metrics=_question_metrics(record, counted) | _list_metrics(record) if number else {},
        recall=time_blocked(hits, rng) if number else None,
        difference=paired_difference(hits, np.broadcast_to(hits[:, [reference]], hits.shape), rng) if number else None,
        reference=record.names[reference] if record.names else None,
        segments=_segments(record, counted),
        curve=learning_curve(record),
    )


def _question_metrics(record: Record, chosen: Bools) -> dict[str, F64]:
    ranks = record.ranks[chosen]
    return {
        "recall@10": hit_at(ranks, 10).mean(axis=0),
        "recall@20": hit_at(ranks, 20).mean(axis=0),
        "ndcg@10": ndcg_at(ranks, 10).mean(axis=0),
        "mrr@20": reciprocal_rank_at(ranks, 20).mean(axis=0),
        "mean_popularity": record.popularity[chosen].mean(axis=0, dtype=np.float64),
    }


def _list_metrics(record: Record) -> dict[str, F64]:
    seen = max(record.items_seen, 1)
    information = self_information(record.item_events.astype(np.float64))
    shown = np.maximum(record.exposure.sum(axis=1), 1)
    return {
        "coverage": (record.exposure > 0).sum(axis=1) / seen,
        "novelty": record.exposure @ information / shown,
        "gini": np.array([gini_of(_as_catalogue(row, seen)) for row in record.exposure]),
    }


def _as_catalogue(exposure: NDArray[np.int64], seen: int) -> NDArray[np.int64]:
    """The exposure of the items seen: codes of items that were only announced have none and do not count."""
    shown = exposure[exposure > 0]
    return np.pad(shown, (0, max(0, seen - len(shown))))


def _segments(record: Record, counted: Bools) -> dict[str, tuple[int, dict[str, F64]]]:
    cold, new = record.history_length < COLD_HISTORY, record.item_count < NEW_ITEM
    chosen = {"cold_users": counted & cold, "warm_users": counted & ~cold, "new_items": counted & new, "old_items": counted & ~new}
    return {name: (int(rows.sum()), _question_metrics(record, rows) if rows.any() else {}) for name, rows in chosen.items()}


def learning_curve(record: Record, points: int = CURVE_POINTS) -> Curve:
    """Rolling Recall@10 of all questions; the window is a twentieth of them, at least 200."""
    number = len(record.events)
    window = min(max(_SHORTEST_WINDOW, number // 20), max(number, 1))
    ends = np.unique(np.linspace(window, number, points).astype(np.int64)) if number else np.zeros(0, np.int64)
    sums = np.concatenate((np.zeros((1, len(record.names))), np.cumsum(hit_at(record.ranks, 10), axis=0)))
    return Curve(window, record.events[ends - 1] + 1, record.times[ends - 1], (sums[ends] - sums[ends - window]) / window)
