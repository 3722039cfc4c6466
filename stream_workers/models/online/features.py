"""The one feature function: what the blend sees of a candidate, the same in the worker, in replays and in the API."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream_workers.models.online.numeric import F64, dot, kernel
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


@kernel
def fill_features(world: World, person: Person, scratch: Scratch, half_lives: F64, count: int) -> None:
    """Set `scratch.x[:count]` to the features of the pool, not yet standardised, and `scratch.offset` to log prior.

    Args:
        count: candidates in the pool.
    """
    log, pop, content = world.log, world.popularity, world.content
    now = person.now[0]
    length = person.counts[0]
    norm = _interest(world, person, scratch)
    usual_count, usual_age, usual_year, years = 0.0, 0.0, 0.0, 0
    for k in range(length):
        item = person.items[k]
        usual_count += np.log(1.0 + log.item_events[item])
        usual_age += _log_ms(person.times[k] - log.item_first[item])
        if content.year[item] > 0:
            usual_year += content.year[item]
            years += 1
    usual_count /= max(1, length)
    usual_age /= max(1, length)
    usual_year /= max(1, years)
    top_vectors, top_factors = np.float32(-1e30), np.float32(-1e30)
    vector = scratch.vector
    length_h = np.sqrt(dot(vector, vector) + np.float32(1e-12))
    for p in range(count):
        top_vectors = max(top_vectors, scratch.scores[VECTORS, scratch.pool[p]])
        top_factors = max(top_factors, scratch.scores[FACTORS, scratch.pool[p]])
    user_idle = _log_ms(now - person.times[0]) if length > 0 else 0.0
    tops = scratch.largest
    for p in range(count):
        j = scratch.pool[p]
        x = scratch.x[p]
        for h in range(HALF_LIVES):
            x[h] = np.log(pop.values[h, j] / pop.unit[h] + 0.05)
        at = HALF_LIVES
        events = log.item_events[j]
        x[at] = np.log(1.0 + events)
        x[at + 1] = x[1] - x[3]
        x[at + 2] = x[3] - x[5]
        # what was disliked speaks against its neighbours: their scores may be negative
        x[at + 3] = np.log(max(0.0, scratch.scores[PAIRS, j]) / (tops[PAIRS] + 1e-9) + 1e-3)
        x[at + 4] = np.log(max(0.0, scratch.scores[PAIRS, j]) + 1e-2)
        x[at + 5] = np.log(max(0.0, scratch.scores[PAIRS_FAST, j]) / (tops[PAIRS_FAST] + 1e-9) + 1e-3)
        x[at + 6] = np.log(max(0.0, scratch.scores[PAIRS_FAST, j]) + 1e-2)
        x[at + 7] = np.log(max(0.0, scratch.scores[PAIRS_LAST, j]) / (tops[PAIRS_LAST] + 1e-9) + 1e-3)
        x[at + 8] = np.log(scratch.scores[KNN, j] / (tops[KNN] + 1e-9) + 1e-3)
        x[at + 9] = scratch.scores[VECTORS, j] - top_vectors
        x[at + 10] = scratch.scores[FACTORS, j] - top_factors
        at += 11
        for s in range(scratch.place.shape[0]):
            place = scratch.place[s, j]
            x[at + s] = 1.0 / np.sqrt(place) if place > 0 else 0.0
        at += scratch.place.shape[0]
        age = _log_ms(now - log.item_first[j])
        x[at] = age
        x[at + 1] = _log_ms(now - log.item_latest[j])
        match, own = 0.0, 0
        for c in range(content.categories.shape[1]):
            category = content.categories[j, c]
            if 0 <= category < scratch.interest.shape[0]:
                match += scratch.interest[category]
                own += 1
        x[at + 2] = match / (norm * np.sqrt(own)) if norm > 0 and own > 0 else 0.0
        x[at + 3] = (content.year[j] - usual_year) / 10.0 if years > 0 and content.year[j] > 0 else 0.0
        x[at + 4] = abs(x[HALF_LIVES] - usual_count) if length > 0 else 0.0
        x[at + 5] = abs(age - usual_age) if length > 0 else 0.0
        x[at + 6], x[at + 7] = 0.0, 0.0
        for k in range(length):
            if person.items[k] == j:
                x[at + 6] = 1.0 if person.liked[k] > 0 else -1.0
                x[at + 7] = 1.0 / (1.0 + _log_ms(now - person.times[k]))
                break
        x[at + 8] = np.log(1.0 + length)
        x[at + 9] = user_idle
        engagers = world.vectors.engagers[j]
        x[at + 10] = dot(vector, engagers) / (length_h * np.sqrt(dot(engagers, engagers) + np.float32(1e-12)))
        for f in range(5):
            x[at + 11 + f] = 0.0
        if length > 0:
            last = person.items[0]
            x[at + 11] = x[HALF_LIVES] - np.log(1.0 + log.item_events[last])
            x[at + 12] = x[4] - np.log(pop.values[4, last] / pop.unit[4] + 0.05)
            x[at + 13] = age - _log_ms(now - log.item_first[last])
            if content.year[last] > 0 and content.year[j] > 0:
                x[at + 14] = abs(content.year[j] - content.year[last]) / 10.0
            shared, others = 0.0, 0
            for c in range(content.categories.shape[1]):
                others += content.categories[last, c] >= 0
                for d in range(content.categories.shape[1]):
                    shared += content.categories[j, d] >= 0 and content.categories[j, d] == content.categories[last, c]
            x[at + 15] = shared / np.sqrt(max(1, own) * max(1, others))
        scratch.offset[p] = scratch.log_prior[j]
