"""The one feature function: what the blend sees of a candidate, the same in the worker, in replays and in the API."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.numeric import F32, I32, dot, kernel
from stream_workers.models.online.sources import SOURCES
from stream_workers.models.online.world import FACTORS, KNN, PAIRS, PAIRS_FAST, PAIRS_LAST, VECTORS, Person, Scratch, World

HALF_LIVES: Final = 7
FEATURES: Final = (
    *(f"log_popularity_{h}" for h in range(HALF_LIVES)), "log_count", "velocity", "velocity_slow",
    "pairs", "pairs_absolute", "pairs_fast", "pairs_fast_absolute", "pairs_last", "knn", "vectors", "factors",
    *(f"place_{source}" for source in SOURCES),
    "log_age", "log_idle", "category_match", "year_gap", "popularity_gap", "age_gap", "times_taken", "log_since_taken",
    "log_history", "log_user_idle", "engagers", "last_count_gap", "last_popularity_gap",
    "last_age_gap", "last_year_gap", "last_category_match",
)  # fmt: skip
# Where groups of features begin.
COUNT: Final = FEATURES.index("log_count")
AGE: Final = FEATURES.index("log_age")
LAST: Final = FEATURES.index("last_count_gap")
_MINUTE = 60_000.0


@kernel
def _log_ms(ms: float) -> float:
    """Logarithm of a time in minutes; times that run backwards count as none."""
    return np.log(1.0 + max(0.0, ms) / _MINUTE)


@kernel
def _interest(world: World, person: Person, scratch: Scratch) -> float:
    """Fill `scratch.interest` with the history's decayed categories.

    Returns:
        Their Euclidean norm.
    """
    interest = scratch.interest
    interest[:] = np.float32(0.0)
    share = np.float32(1.0)
    for k in range(person.counts[0]):
        categories = world.content.categories[person.items[k]]
        for c in range(categories.shape[0]):
            if 0 <= categories[c] < interest.shape[0]:
                interest[categories[c]] += share if person.liked[k] > 0 else -share
        share *= np.float32(0.9)
    total = 0.0
    for c in range(interest.shape[0]):
        total += interest[c] * interest[c]
    return np.sqrt(total)


class _Usual(NamedTuple):
    """What the person usually takes: mean log count and log age of the items then, mean year (of so many), norm of the interest;
    how long ago they took something; the length of their vector; the best scores of the pool."""

    log_count: float
    log_age: float
    year: float
    years: int
    norm: float
    idle: float
    vector: float
    top_vectors: float
    top_factors: float


@kernel
def _usual(world: World, person: Person, scratch: Scratch, pool: I32) -> _Usual:
    log, content = world.log, world.content
    length = person.counts[0]
    count, age, year, years = 0.0, 0.0, 0.0, 0
    for k in range(length):
        item = person.items[k]
        count += np.log(1.0 + log.item_events[item])
        age += _log_ms(person.times[k] - log.item_first[item])
        if content.year[item] > 0:
            year += content.year[item]
            years += 1
    top_vectors, top_factors = -1e30, -1e30
    for p in range(pool.shape[0]):
        top_vectors = max(top_vectors, float(scratch.scores[VECTORS, pool[p]]))
        top_factors = max(top_factors, float(scratch.scores[FACTORS, pool[p]]))
    idle = _log_ms(person.now[0] - person.times[0]) if length > 0 else 0.0
    size = np.sqrt(dot(scratch.vector, scratch.vector) + 1e-12)
    norm = _interest(world, person, scratch)
    known = max(1, length)
    return _Usual(count / known, age / known, year / max(1, years), years, norm, idle, size, top_vectors, top_factors)


# Each group goes through the whole pool: handing a world over for every single candidate would cost more than the features.
@kernel
def _popularity_features(world: World, pool: I32, x: F32) -> None:
    pop, log = world.popularity, world.log
    for p in range(pool.shape[0]):
        j, row = pool[p], x[p]
        for h in range(HALF_LIVES):
            row[h] = np.log(pop.values[h, j] / pop.unit[h] + 0.05)
        row[COUNT] = np.log(1.0 + log.item_events[j])
        row[COUNT + 1] = row[1] - row[3]
        row[COUNT + 2] = row[3] - row[5]


@kernel
def _source_features(scratch: Scratch, usual: _Usual, pool: I32, x: F32) -> None:
    scores, tops, places = scratch.scores, scratch.largest, scratch.place
    for p in range(pool.shape[0]):
        j, row = pool[p], x[p]
        at = COUNT + 3
        for source in (PAIRS, PAIRS_FAST, PAIRS_LAST):
            score = max(0.0, scores[source, j])  # what was disliked speaks against its neighbours: scores may be negative
            row[at] = np.log(score / (tops[source] + 1e-9) + 1e-3)
            at += 1
            if source != PAIRS_LAST:
                row[at] = np.log(score + 1e-2)
                at += 1
        row[at] = np.log(scores[KNN, j] / (tops[KNN] + 1e-9) + 1e-3)
        row[at + 1] = scores[VECTORS, j] - usual.top_vectors
        row[at + 2] = scores[FACTORS, j] - usual.top_factors
        at += 3
        for s in range(places.shape[0]):
            place = places[s, j]
            row[at + s] = 1.0 / np.sqrt(place) if place > 0 else 0.0


@kernel
def _item_features(world: World, person: Person, scratch: Scratch, usual: _Usual, pool: I32, x: F32) -> None:
    log, content, interest, vector = world.log, world.content, scratch.interest, scratch.vector
    engagers = world.vectors.engagers
    now, length = person.now[0], person.counts[0]
    for p in range(pool.shape[0]):
        j, row = pool[p], x[p]
        age = _log_ms(now - log.item_first[j])
        row[AGE], row[AGE + 1] = age, _log_ms(now - log.item_latest[j])
        match, own = 0.0, 0
        for c in range(content.categories.shape[1]):
            category = content.categories[j, c]
            if 0 <= category < interest.shape[0]:
                match += interest[category]
                own += 1
        row[AGE + 2] = match / (usual.norm * np.sqrt(own)) if usual.norm > 0 and own > 0 else 0.0
        row[AGE + 3] = (content.year[j] - usual.year) / 10.0 if usual.years > 0 and content.year[j] > 0 else 0.0
        row[AGE + 4] = abs(row[COUNT] - usual.log_count) if length > 0 else 0.0
        row[AGE + 5] = abs(age - usual.log_age) if length > 0 else 0.0
        row[AGE + 6], row[AGE + 7] = 0.0, 0.0
        for k in range(length):
            if person.items[k] == j:
                row[AGE + 6] = 1.0 if person.liked[k] > 0 else -1.0
                row[AGE + 7] = 1.0 / (1.0 + _log_ms(now - person.times[k]))
                break
        row[AGE + 8], row[AGE + 9] = np.log(1.0 + length), usual.idle
        product, square = np.float32(0.0), np.float32(1e-12)
        for d in range(vector.shape[0]):
            product += vector[d] * engagers[j, d]
            square += engagers[j, d] * engagers[j, d]
        row[AGE + 10] = product / (usual.vector * np.sqrt(square))


@kernel
def _last_features(world: World, now: float, last: int, pool: I32, x: F32) -> None:
    """How far each candidate lies from the item taken last; -1: none was."""
    x[:, LAST : LAST + 5] = np.float32(0.0)
    if last < 0:
        return
    log, pop, content = world.log, world.popularity, world.content
    last_count = np.log(1.0 + log.item_events[last])
    last_popularity = np.log(pop.values[4, last] / pop.unit[4] + 0.05)
    last_age = _log_ms(now - log.item_first[last])
    others = 0
    while others < content.categories.shape[1] and content.categories[last, others] >= 0:
        others += 1
    for p in range(pool.shape[0]):
        j, row = pool[p], x[p]
        row[LAST] = row[COUNT] - last_count
        row[LAST + 1] = row[4] - last_popularity
        row[LAST + 2] = row[AGE] - last_age
        if content.year[last] > 0 and content.year[j] > 0:
            row[LAST + 3] = abs(content.year[j] - content.year[last]) / 10.0
        shared, own = 0.0, 0
        while own < content.categories.shape[1] and content.categories[j, own] >= 0:
            for c in range(others):
                shared += content.categories[j, own] == content.categories[last, c]
            own += 1
        row[LAST + 4] = shared / np.sqrt(max(1, own) * max(1, others))


@kernel
def fill_features(world: World, person: Person, scratch: Scratch, count: int) -> None:
    """Set `scratch.x[:count]` to the features of the pool, not yet standardised, and `scratch.offset` to log prior.

    Args:
        count: candidates in the pool.
    """
    pool, x = scratch.pool[:count], scratch.x[:count]
    usual = _usual(world, person, scratch, pool)
    _popularity_features(world, pool, x)
    _source_features(scratch, usual, pool, x)
    _item_features(world, person, scratch, usual, pool, x)
    _last_features(world, person.now[0], person.items[0] if person.counts[0] > 0 else -1, pool, x)
    for p in range(count):
        scratch.offset[p] = scratch.log_prior[pool[p]]
