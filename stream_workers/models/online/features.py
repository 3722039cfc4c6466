"""The one feature function: what the blend sees of a candidate, the same in the worker, in replays and in the API."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.audience import audience_counts, pace_of
from stream_workers.models.online.blend import bucket_of
from stream_workers.models.online.calibration import calibration_ratios
from stream_workers.models.online.numeric import F32, I32, dot, kernel, logarithms
from stream_workers.models.online.sources import SOURCES
from stream_workers.models.online.title_words import title_overlap
from stream_workers.models.online.world import (
    BATCH,
    BATCH_MODELS,
    FACTORS,
    KNN,
    PAIRS,
    PAIRS_FAST,
    PAIRS_LAST,
    VECTORS,
    Person,
    Scratch,
    World,
)

HALF_LIVES: Final = 7
FEATURES: Final = (
    *(f"log_popularity_{h}" for h in range(HALF_LIVES)), "log_count", "velocity", "velocity_slow",
    "pairs", "pairs_absolute", "pairs_fast", "pairs_fast_absolute", "pairs_last", "knn", "vectors", "factors",
    *(f"batch_{n}" for n in range(1, BATCH_MODELS + 1)),
    *(f"place_{source}" for source in SOURCES),
    "log_age", "log_idle", "category_match", "year_gap", "popularity_gap", "age_gap", "times_taken", "log_since_taken",
    "log_history", "log_user_idle", "engagers", "last_count_gap", "last_popularity_gap",
    "last_age_gap", "last_year_gap", "last_category_match",
    "title_overlap", "log_popularity_like_them", "log_popularity_at_their_pace", "log_calibration",
)  # fmt: skip
# Where groups of features begin.
COUNT: Final = FEATURES.index("log_count")
AGE: Final = FEATURES.index("log_age")
LAST: Final = FEATURES.index("last_count_gap")
TITLE: Final = FEATURES.index("title_overlap")
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


# Each group goes through the whole pool, feature after feature: rows of one feature are what vector instructions like, and handing
# a world over for every single candidate would cost more than the features.
@kernel
def _popularity_features(world: World, scratch: Scratch, pool: I32) -> None:
    pop, log, x = world.popularity, world.log, scratch.x
    for h in range(HALF_LIVES):
        scale = 1.0 / pop.unit[h]
        for p in range(pool.shape[0]):
            x[h, p] = pop.values[h, pool[p]] * scale + 0.05
    for p in range(pool.shape[0]):
        x[COUNT, p] = 1.0 + log.item_events[pool[p]]
    for f in range(COUNT + 1):
        _take_logarithms(scratch, f, pool.shape[0])
    for p in range(pool.shape[0]):
        x[COUNT + 1, p] = x[1, p] - x[3, p]
        x[COUNT + 2, p] = x[3, p] - x[5, p]


@kernel
def _source_features(scratch: Scratch, usual: _Usual, pool: I32) -> None:
    scores, tops, x = scratch.scores, scratch.largest, scratch.x
    at = COUNT + 3
    for source in (PAIRS, PAIRS_FAST, PAIRS_LAST, KNN):
        scale = 1.0 / (tops[source] + 1e-9)
        for p in range(pool.shape[0]):
            # What was disliked speaks against its neighbours: scores may be negative.
            x[at, p] = max(0.0, scores[source, pool[p]]) * scale + 1e-3
        _take_logarithms(scratch, at, pool.shape[0])
        at += 1
        if source in (PAIRS, PAIRS_FAST):
            for p in range(pool.shape[0]):
                x[at, p] = max(0.0, scores[source, pool[p]]) + 1e-2
            _take_logarithms(scratch, at, pool.shape[0])
            at += 1
    for p in range(pool.shape[0]):
        x[at, p] = scores[VECTORS, pool[p]] - usual.top_vectors
        x[at + 1, p] = scores[FACTORS, pool[p]] - usual.top_factors
    at += 2
    for row in range(BATCH, BATCH + BATCH_MODELS):
        _below_best(scores[row], pool, x[at])
        at += 1
    for s in range(scratch.found.shape[0]):
        x[at + s, : pool.shape[0]] = np.float32(0.0)
        for k in range(scratch.found_count[s]):  # where a source has nothing, nothing is looked up
            p = scratch.in_pool[scratch.found[s, k]] - 1
            if p >= 0:
                x[at + s, p] = np.float32(1.0 / np.sqrt(k + 1.0))


@kernel
def _below_best(scores: F32, pool: I32, out: F32) -> None:
    """Scores minus the best of the pool; zeros where a model says nothing."""
    top = np.float32(-1e30)
    if not np.isnan(scores[0]):
        for p in range(pool.shape[0]):
            top = max(top, scores[pool[p]])
    for p in range(pool.shape[0]):
        out[p] = max(scores[pool[p]] - top, np.float32(-30.0)) if top > -1e29 else np.float32(0.0)


@kernel
def _take_logarithms(scratch: Scratch, feature: int, count: int) -> None:
    """Replace a feature by its natural logarithm."""
    values, row = scratch.linear[:count], scratch.x[feature, :count]
    values[:] = row
    logarithms(values, scratch.blended[:count], row)


@kernel
def _item_features(world: World, person: Person, scratch: Scratch, usual: _Usual, pool: I32) -> None:
    log, content, interest, x = world.log, world.content, scratch.interest, scratch.x
    now, length = person.now[0], person.counts[0]
    count = pool.shape[0]
    for p in range(count):
        j = pool[p]
        x[AGE, p] = 1.0 + max(0.0, now - log.item_first[j]) / _MINUTE
        x[AGE + 1, p] = 1.0 + max(0.0, now - log.item_latest[j]) / _MINUTE
        match, own = 0.0, 0
        for c in range(content.categories.shape[1]):
            category = content.categories[j, c]
            if 0 <= category < interest.shape[0]:
                match += interest[category]
                own += 1
        x[AGE + 2, p] = match / (usual.norm * np.sqrt(own)) if usual.norm > 0 and own > 0 else 0.0
        x[AGE + 3, p] = (content.year[j] - usual.year) / 10.0 if usual.years > 0 and content.year[j] > 0 else 0.0
    _take_logarithms(scratch, AGE, count)
    _take_logarithms(scratch, AGE + 1, count)
    for p in range(count):
        x[AGE + 4, p] = abs(x[COUNT, p] - usual.log_count) if length > 0 else 0.0
        x[AGE + 5, p] = abs(x[AGE, p] - usual.log_age) if length > 0 else 0.0
        x[AGE + 6, p], x[AGE + 7, p] = 0.0, 0.0
        x[AGE + 8, p], x[AGE + 9, p] = np.log(1.0 + length), usual.idle
    for k in range(length):  # what the person had and may have again
        p = scratch.in_pool[person.items[k]] - 1
        if p >= 0:
            x[AGE + 6, p] = 1.0 if person.liked[k] > 0 else -1.0
            x[AGE + 7, p] = 1.0 / (1.0 + _log_ms(now - person.times[k]))
    _engager_feature(world.vectors.engagers, scratch, usual.vector, pool)


@kernel
def _engager_feature(engagers: F32, scratch: Scratch, length: float, pool: I32) -> None:
    """Cosine of the person's vector, of this length, and what those who took the item had in common."""
    vector = scratch.vector
    for p in range(pool.shape[0]):
        row = engagers[pool[p]]
        product, square = np.float32(0.0), np.float32(1e-12)
        for d in range(vector.shape[0]):
            product += vector[d] * row[d]
            square += row[d] * row[d]
        scratch.x[AGE + 10, p] = product / (length * np.sqrt(square))


@kernel
def _last_features(world: World, now: float, last: int, pool: I32, x: F32, had: F32) -> None:
    """How far each candidate lies from the item taken last; -1: none was. had: float32[C], scratch."""
    for f in range(LAST, LAST + 5):
        x[f, : pool.shape[0]] = np.float32(0.0)
    if last < 0:
        return
    log, pop, content = world.log, world.popularity, world.content
    last_count = np.log(1.0 + log.item_events[last])
    last_popularity = np.log(pop.values[4, last] / pop.unit[4] + 0.05)
    last_age = _log_ms(now - log.item_first[last])
    had[:] = np.float32(0.0)
    others = 0
    while others < content.categories.shape[1] and content.categories[last, others] >= 0:
        had[content.categories[last, others]] = np.float32(1.0)
        others += 1
    for p in range(pool.shape[0]):
        j = pool[p]
        x[LAST, p] = x[COUNT, p] - last_count
        x[LAST + 1, p] = x[4, p] - last_popularity
        x[LAST + 2, p] = x[AGE, p] - last_age
        if content.year[last] > 0 and content.year[j] > 0:
            x[LAST + 3, p] = abs(content.year[j] - content.year[last]) / 10.0
        shared, own = 0.0, 0
        while own < content.categories.shape[1] and content.categories[j, own] >= 0:
            shared += had[content.categories[j, own]]
            own += 1
        x[LAST + 4, p] = shared / np.sqrt(max(1, own) * max(1, others))


@kernel
def _audience_features(world: World, person: Person, scratch: Scratch, pool: I32) -> None:
    """How popular each candidate is with people like this one, see `audience`."""
    history = person.counts[0]
    groups = bucket_of(history), pace_of(history, person.now[0] - person.times[0])
    for n in range(2):
        row = scratch.x[TITLE + 1 + n, : pool.shape[0]]
        audience_counts(world.audience, groups[n], person.now[0], pool, row)
        for p in range(pool.shape[0]):
            row[p] += np.float32(0.05)
        _take_logarithms(scratch, TITLE + 1 + n, pool.shape[0])


@kernel
def fill_features(world: World, person: Person, scratch: Scratch, count: int) -> None:
    """Set `scratch.x[:, :count]` to the features of the pool, not yet standardised, and `scratch.offset` to log prior.

    Args:
        count: candidates in the pool.
    """
    pool = scratch.pool[:count]
    usual = _usual(world, person, scratch, pool)
    _popularity_features(world, scratch, pool)
    _source_features(scratch, usual, pool)
    _item_features(world, person, scratch, usual, pool)
    _last_features(world, person.now[0], person.items[0] if person.counts[0] > 0 else -1, pool, scratch.x, scratch.interest)
    title_overlap(
        world.content.words, world.content.items_with, person.items[: person.counts[0]], pool, scratch.word_shares,
        scratch.x[TITLE, :count],
    )  # fmt: skip
    _audience_features(world, person, scratch, pool)
    calibration_ratios(world.calibration, pool, scratch.x[TITLE + 3, :count])
    _take_logarithms(scratch, TITLE + 3, count)
    for p in range(count):
        scratch.offset[p] = scratch.log_prior[pool[p]]
