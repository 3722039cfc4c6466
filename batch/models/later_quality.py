"""How well a model ranks what came after the log it learnt from: the measure of early stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from batch.datasets.interactions import F32, I64, InteractionLog
from batch.models.interface import Answers, queries_of
from stream_workers.models.deep.scorer import Query

LONGEST: Final = 100
_CHUNK: Final = 256


def later_quality(
    train: InteractionLog, later: InteractionLog, *, seed: int, most: int = 1000
) -> Callable[[Answers], float] | None:
    """A judge of scorers: the mean over users of 1 / log2(1 + place of their first new item in `later`).

    This is NDCG without a cut-off, with one relevant item; it moves with every place, so it needs fewer users than NDCG@10
    to tell two epochs apart. Items that the user took in `train` are left out; at most `most` users, drawn by `seed`, each known by
    the newest `LONGEST` interactions, as where the model serves: a recurrent model walks through all that it is given.

    Returns:
        None where `later` holds nothing new of anybody: there is nothing to judge on.
    """
    users, targets, moments = _first_new(train, later)
    if not len(users):
        return None
    some = np.sort(np.random.default_rng(seed).permutation(len(users))[:most])
    histories = queries_of(train, users[some].tolist(), 0, LONGEST)
    queries = [query._replace(now=int(now)) for query, now in zip(histories, moments[some], strict=True)]
    taken = [query.items for query in queries_of(train, users[some].tolist(), 0, train.size)]
    return lambda scorer: _mean_gain(scorer, queries, targets[some], taken)


def _first_new(train: InteractionLog, later: InteractionLog) -> tuple[I64, I64, I64]:
    """(users, items, times) of each user's first event of `later` with an item that the user did not take in `train`."""
    width = train.catalogue.size
    new = np.flatnonzero(~np.isin(later.users * width + later.items, train.users * width + train.items))
    _, first = np.unique(later.users[new], return_index=True)
    at = new[first]
    return later.users[at], later.items[at], later.timestamps[at]


def _mean_gain(scorer: Answers, queries: list[Query], targets: I64, taken: list[I64]) -> float:
    parts = [slice(at, at + _CHUNK) for at in range(0, len(queries), _CHUNK)]
    places = [_places(scorer.score(queries[part]), taken[part], targets[part]) for part in parts]
    return float(np.mean(1 / np.log2(1 + np.concatenate(places))))


def _places(scores: F32, taken: list[I64], targets: I64) -> I64:
    """The place of each target, from 1, among all items that the user has not taken; ties count against it."""
    wanted = scores[np.arange(len(targets)), targets]
    better = scores >= wanted[:, None]
    for row, items in zip(better, taken, strict=True):
        row[items] = False
    places: I64 = np.maximum(better.sum(axis=1), 1)
    return places
