"""A small world with taste in it: groups of people who take the items of one cluster, for the tests of the deep models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from batch.datasets.interactions import Catalogue, InteractionLog, checked
from stream_workers.models.deep.scorer import Query

CLUSTERS = 3
PER_CLUSTER = 12
NEW = tuple(CLUSTERS * PER_CLUSTER + cluster for cluster in range(CLUSTERS))
"""Row of the item of each cluster that nobody has taken."""
_WORDS = (("space", "star", "robot"), ("love", "wedding", "heart"), ("crime", "detective", "murder"))
_MINUTE = 60_000


def cluster_of(item: int) -> int:
    return NEW.index(item) if item in NEW else item // PER_CLUSTER


def catalogue(described: bool = True) -> Catalogue:
    rows = range(CLUSTERS * PER_CLUSTER + CLUSTERS)
    words = [_WORDS[cluster_of(row)] for row in rows]
    titles = tuple(f"{one[row % 3]} {one[(row + 1) % 3]}" if described else "" for row, one in zip(rows, words, strict=True))
    categories = tuple((f"kind {cluster_of(row)}",) if described else () for row in rows)
    years = np.array([1980 + 10 * cluster_of(row) if described else np.nan for row in rows], np.float32)
    return Catalogue(tuple(f"i{row}" for row in rows), titles, categories, ((),) * len(rows), years, np.zeros(len(rows), np.int64))


def log_of(users: Sequence[int], items: Sequence[int], ratings: Any = None, described: bool = True) -> InteractionLog:
    """Events a minute apart."""
    count = len(users)
    given = np.full(count, np.nan, np.float32) if ratings is None else np.asarray(ratings, np.float32)
    times = np.arange(1, count + 1, dtype=np.int64) * _MINUTE
    names = tuple(f"u{user}" for user in range(1 + max(users, default=0)))
    return checked(
        InteractionLog(np.asarray(users, np.int64), np.asarray(items, np.int64), times, given, names, catalogue(described))
    )


def clustered(people: int = 45, each: int = 10, described: bool = True) -> tuple[InteractionLog, InteractionLog]:
    """(what people took of their cluster in turns, the next thing that each took)."""
    rng = np.random.default_rng(1)
    taken = [rng.permutation(PER_CLUSTER)[: each + 1] + PER_CLUSTER * (person % CLUSTERS) for person in range(people)]
    users = [person for _ in range(each + 1) for person in range(people)]
    items = [int(taken[person][turn]) for turn in range(each + 1) for person in range(people)]
    log = log_of(users, items, described=described)
    return log.part(0, people * each), log.part(people * each, log.size)


def rated(people: int = 60) -> tuple[InteractionLog, InteractionLog]:
    """People give 5 to the items of their cluster and 1 to the others: (three quarters of their ratings, the rest)."""
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(people), 16)
    items = np.concatenate([rng.permutation(CLUSTERS * PER_CLUSTER)[:16] for _ in range(people)])
    order = rng.permutation(len(users))
    stars = np.where(items // PER_CLUSTER == users % CLUSTERS, 5.0, 1.0)
    log = log_of(users[order].tolist(), items[order].tolist(), stars[order])
    return log.part(0, log.size * 3 // 4), log.part(log.size * 3 // 4, log.size)


def some_queries(log: InteractionLog, rng: np.random.Generator) -> list[Query]:
    """Histories of any length, known and unknown users, at moments after them."""
    end = int(log.timestamps[-1])
    found = []
    for length in (0, 1, 2, 7, 40):
        times = np.sort(rng.integers(0, end, length))
        items = rng.integers(0, CLUSTERS * PER_CLUSTER, length)
        user = int(rng.integers(-1, len(log.user_ids)))
        found.append(Query(user, items, times, end + int(rng.integers(0, 10**9)), rng.integers(1, 6, length).astype(np.float32)))
    return found


def randomise(network: Any, seed: int) -> None:
    """Other weights everywhere, so that no term is 0."""
    rng = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        variable.assign(rng.normal(0, 0.3, tuple(variable.shape)).astype(np.float32))
