"""What scorers are asked: of each user, which items they took later; and the lists that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from batch.datasets.interactions import F32, I64, InteractionLog
from batch.models.interface import Answers, queries_of
from stream_workers.models.deep.scorer import Query

NOTHING: Final = -1
_SCORES_AT_ONCE: Final = 10_000_000


class Questions(NamedTuple):
    """U users, each at the moment of their first interaction that is asked about.

    Attributes:
        users: int64[U], rising. queries: what is known of them.
        relevant: int64[U, R], the items they took then, -1 behind the end.
        taken: for each user the items they had before, rising.
    """

    users: I64
    queries: list[Query]
    relevant: I64
    taken: list[I64]


def questions(known: InteractionLog, later: InteractionLog, *, repeats: bool = False, longest: int = 100) -> Questions:
    """One question for each user of `later`: what they take there, given what `known` says of them.

    Args:
        known: what happened before, as far as a model may be told at that moment. With a split by time nothing of `later` is in
            it, so that a user's second item of the test is asked for without knowing the first.
        repeats: also ask for items that the user already had; otherwise users who took nothing new are not asked.
        longest: newest interactions in a query.
    """
    width = known.catalogue.size
    pairs, first = np.unique(later.users * width + later.items, return_index=True)
    new = np.ones(len(pairs), np.bool_) if repeats else ~np.isin(pairs, known.users * width + known.items)
    owners, items = np.divmod(pairs[new], width)
    users, starts = np.unique(owners, return_index=True)
    moments = np.minimum.reduceat(later.timestamps[first[new]], starts) if len(users) else np.empty(0, np.int64)
    queries = [
        query._replace(now=int(now)) for query, now in zip(queries_of(known, users.tolist(), 0, longest), moments, strict=True)
    ]
    return Questions(users, queries, _padded(np.split(items, starts[1:])), _taken(known, users))


def _padded(sets: Sequence[I64]) -> I64:
    rows = np.full((len(sets), max(map(len, sets), default=0)), NOTHING, np.int64)
    for row, items in zip(rows, sets, strict=True):
        row[: len(items)] = items
    return rows


def _taken(log: InteractionLog, users: I64) -> list[I64]:
    pairs = np.unique(log.users * log.catalogue.size + log.items)
    owners, items = np.divmod(pairs, log.catalogue.size)
    bounds = np.searchsorted(owners, np.stack((users, users + 1)))
    return [items[start:end] for start, end in bounds.T]


def best_lists(scorer: Answers, asked: Questions, k: int, rng: np.random.Generator, *, exclude_taken: bool = True) -> I64:
    """The k items with the highest scores for each user: int64[U, k], best first, -1 where there are no more.

    All items are ranked. Equal scores are ordered at random, by one order drawn from `rng` for the whole run: an order by row
    number would favour the items that came first.
    """
    items = scorer.score(asked.queries[:1]).shape[1] if asked.queries else 0
    order = rng.permutation(items)
    size = max(1, _SCORES_AT_ONCE // max(items, 1))
    lists = np.full((len(asked.queries), k), NOTHING, np.int64)
    for start in range(0, len(asked.queries), size):
        part = slice(start, start + size)
        scores = scorer.score(asked.queries[part]).astype(np.float32, copy=True)
        if exclude_taken:
            for row, taken in zip(scores, asked.taken[part], strict=True):
                row[taken] = -np.inf
        lists[part, : min(k, items)] = _best(scores, order, k)
    return lists


def _best(scores: F32, order: I64, k: int) -> I64:
    shuffled = scores[:, order]
    places = np.argsort(-shuffled, axis=1, kind="stable")[:, :k] if k >= len(order) else _largest(shuffled, k)
    found = order[places]
    found[np.isneginf(np.take_along_axis(shuffled, places, axis=1))] = NOTHING
    return found


def _largest(scores: F32, k: int) -> I64:
    """Places of the k largest of each row, the largest first."""
    some = np.argpartition(-scores, k, axis=1)[:, :k]
    values = np.take_along_axis(scores, some, axis=1)
    return np.take_along_axis(some, np.argsort(-values, axis=1, kind="stable"), axis=1)
