"""One event, ranked by every model before anything learns from it. The blend, which has the pool, is taught here."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stream_workers.models.online.blend import (
    bucket_of,
    learn_linear,
    learn_network,
    learn_scale,
    linear_scores,
    network_scores,
    softmax_errors,
    standardise,
)
from stream_workers.models.online.calibration import learn_calibration
from stream_workers.models.online.factors import score_factors
from stream_workers.models.online.features import fill_features
from stream_workers.models.online.numeric import F32, F64, I32, kernel
from stream_workers.models.online.popularity import Popularity, judge_half_lives, leading_half_life
from stream_workers.models.online.selection import best, hide, rank_of
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.sources import POPULAR, propose, score_prior, score_sources, take_batch_scores
from stream_workers.models.online.world import (
    ALL_TIME,
    BATCH,
    BATCH_1,
    BATCH_2,
    BATCH_MODELS,
    BLEND,
    BPR,
    CO_VISITATION,
    DECAYED,
    FACTORS,
    ISGD,
    ITEM_VECTORS,
    KNN,
    LINEAR,
    LISTED,
    PAIRS,
    PAIRS_FAST,
    SESSION_KNN,
    SHADOW_1,
    SOFTMAX_MF,
    SPARE,
    VECTORS,
    Person,
    Scratch,
    World,
)

_SOURCED: Final = (CO_VISITATION, SESSION_KNN, SOFTMAX_MF, ITEM_VECTORS, BATCH_1, BATCH_2)


@kernel
def predict_event(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, half_lives: F64, items: int, item: int, batch: F32,
    wanted: Any, ranks: I32, top: I32,
) -> int:  # fmt: skip
    """Rank the item that the person is about to take by every model that is wanted, and teach the blend, if that is.

    Args:
        items: items seen so far; `item` is one of them.
        batch: float32[models, >= items], what the published batch models say, see `take_batch_scores`; rows behind theirs are of
            models that are only judged.
        wanted: bool[M], models to rank by. ranks: int32[M], filled, see `Outcome`. top: int32[M, 20], filled.

    Returns:
        Candidates in the pool, negative if the item is not among them.
    """
    taken, count = person.taken, person.counts[1]
    candidates, sourced = 0, _asks_sources(wanted)
    score_prior(world, person, scratch, half_lives, items)
    if sourced:
        score_sources(world, person, scratch, numbers, items)
    _rank_popularity(world.popularity, person, scratch, items, item, wanted, ranks, top)
    if sourced:
        slow = rank_of(scratch.scores[PAIRS, :items], item, taken, count)
        fast = rank_of(scratch.scores[PAIRS_FAST, :items], item, taken, count)
        pairs_row = PAIRS if world.merit[0] >= world.merit[1] else PAIRS_FAST
        for side in range(2):
            world.merit[side] = 0.999 * world.merit[side] + 1.0 / (10.0 + (slow if side == 0 else fast))
        take_batch_scores(scratch, batch, items)
        candidates = propose(world, person, scratch, numbers, items)
        for model, row in zip(_SOURCED, (pairs_row, KNN, FACTORS, VECTORS, BATCH, BATCH + 1)):  # noqa: B905 - numba has no strict
            if wanted[model] and (row < BATCH or not np.isnan(scratch.scores[row, 0])):
                ranks[model] = rank_of(scratch.scores[row, :items], item, taken, count)
                source = len(POPULAR) + row - (row >= BATCH)  # that it proposed candidates by these scores gave its list
                for k in range(LISTED):
                    top[model, k] = scratch.found[source, k] if k < scratch.found_count[source] else -1
    for model, factors in ((ISGD, world.isgd), (BPR, world.bpr)):
        if wanted[model]:
            scores = scratch.scores[SPARE, :items]
            score_factors(factors, person.counts[2], scratch.log_prior, 0.0, scores)
            ranks[model] = rank_of(scores, item, taken, count)
            _list(person, scratch, scores, -1e30, top[model])
    for shadow in range(batch.shape[0] - BATCH_MODELS):
        if wanted[SHADOW_1 + shadow]:
            scores = scratch.scores[SPARE, :items]
            scores[:] = batch[BATCH_MODELS + shadow, :items]
            ranks[SHADOW_1 + shadow] = rank_of(scores, item, taken, count)
            _list(person, scratch, scores, -1e30, top[SHADOW_1 + shadow])
    if not (wanted[LINEAR] or wanted[BLEND]):
        return 0
    return _predict_blend(world, person, scratch, numbers, items, item, candidates, ranks, top)


@kernel
def _asks_sources(wanted: Any) -> bool:
    """Whether any model is wanted that needs the scores of the sources."""
    found = wanted[LINEAR] or wanted[BLEND]
    for model in _SOURCED:
        found = found or wanted[model]
    return found


@kernel
def _rank_popularity(
    pop: Popularity, person: Person, scratch: Scratch, items: int, item: int, wanted: Any, ranks: I32, top: I32
) -> None:
    """Rank by all-time popularity and by that of the leading half-life; all half-lives are judged by it."""
    rows = pop.values.shape[0]
    judged = scratch.ranks[:rows]
    for h in range(rows):
        judged[h] = rank_of(pop.values[h, :items], item, person.taken, person.counts[1])
    scores = scratch.scores[SPARE, :items]
    for model, row in ((ALL_TIME, rows - 1), (DECAYED, leading_half_life(pop))):
        ranks[model] = judged[row]
        if wanted[model]:
            scores[:] = pop.values[row, :items]
            _list(person, scratch, scores, 0.0, top[model])
    judge_half_lives(pop, judged)


@kernel
def score_pool(world: World, person: Person, scratch: Scratch, count: int, learning: bool) -> None:
    """Features of the pool and the scores of both blends, into `scratch.blended` and `scratch.linear`.

    Args:
        count: candidates in the pool, see `propose`; at least one.
        learning: whether the standardisation takes this pool in.
    """
    fill_features(world, person, scratch, count)
    x = scratch.x
    if learning:
        learn_scale(world.blend, x, count)
    standardise(world.blend, x, count)
    offset, blended = scratch.offset[:count], scratch.blended[:count]
    blended[:] = np.float32(0.0)
    networks = scratch.network.shape[0]
    for e in range(networks):
        network_scores(world.blend, e, x, offset, scratch.hidden[e], scratch.network[e, :count])
        for p in range(count):
            blended[p] += scratch.network[e, p] / np.float32(networks)
    linear_scores(world.blend, x, offset, bucket_of(person.counts[0]), scratch.linear[:count])


@kernel
def _predict_blend(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, items: int, item: int, count: int, ranks: I32, top: I32
) -> int:
    score_pool(world, person, scratch, count, True)
    target = scratch.in_pool[item] - 1
    for model in (LINEAR, BLEND):
        scores = (scratch.linear if model == LINEAR else scratch.blended)[:count]
        found = best(scores, -1e30, min(LISTED, count), top[model])
        for k in range(found):
            top[model, k] = scratch.pool[top[model, k]]
        for k in range(found, LISTED):
            top[model, k] = -1
        ranks[model] = rank_of(scores, target, person.taken, 0) if target >= 0 else items
    if target < 0:
        return -count
    x = scratch.x
    for e in range(scratch.network.shape[0]):
        errors = scratch.network[e, :count]
        softmax_errors(errors, target)
        learn_network(world.blend, e, x, errors, scratch.hidden[e], scratch.gradient, numbers.blend_lr, numbers.blend_warm_lr)
    softmax_errors(scratch.blended[:count], target)
    learn_calibration(world.calibration, scratch.pool[:count], scratch.blended[:count], target)
    softmax_errors(scratch.linear[:count], target)
    learn_linear(world.blend, x, scratch.linear[:count], bucket_of(person.counts[0]), numbers.linear_lr)
    return count


@kernel
def _list(person: Person, scratch: Scratch, scores: F32, floor: float, out: I32) -> None:
    hide(scores, person.taken, person.counts[1])
    found = best(scores, floor, LISTED, out)
    for k in range(found, LISTED):
        out[k] = -1
