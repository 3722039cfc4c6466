"""One event, predicted and then learnt: the order that makes every figure of the scoreboard honest."""

from __future__ import annotations

from typing import Any

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
from stream_workers.models.online.bpr import learn_bpr
from stream_workers.models.online.co_visitation import learn_co_visitation
from stream_workers.models.online.dice import draw_negatives, uniform
from stream_workers.models.online.event_log import append, history_before, oldest
from stream_workers.models.online.factors import FactorRates, meet, score_factors
from stream_workers.models.online.features import fill_features
from stream_workers.models.online.isgd import learn_isgd
from stream_workers.models.online.item_vectors import learn_item_vectors, meet_item, remember_engager
from stream_workers.models.online.numeric import F32, F64, I32, I64, kernel
from stream_workers.models.online.popularity import judge_half_lives, leading_half_life, learn_popularity
from stream_workers.models.online.selection import best, best_again, mean_listed, rank_of
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.softmax_mf import learn_softmax_mf
from stream_workers.models.online.sources import POPULAR, ask_for, propose, score_sources, vector_rates
from stream_workers.models.online.world import (
    ALL_TIME,
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
    SOFTMAX_MF,
    SPARE,
    VECTORS,
    Person,
    Scratch,
    World,
)


@kernel
def log_prior_of(world: World, item: int, items: int) -> float:
    """Log of the item's prior at this moment, see `popularity.priors`."""
    pop = world.popularity
    row = leading_half_life(pop)
    return np.log(0.5 * pop.values[row, item] / max(pop.sums[row], 1e-30) + 0.5 / items)


@kernel
def learn_event(
    world: World,
    person: Person,
    scratch: Scratch,
    numbers: Numbers,
    half_lives: F64,
    items: int,
    item: int,
    time: float,
    weight: float,
) -> None:
    """Every model learns that the person asked for (see `ask_for`) took `item`; then the log does.

    Args:
        items: item count, this one included.
    """
    log = world.log
    user = person.counts[2]
    prior = 0.0
    if weight > 0:
        history, liked = person.items[: person.counts[0]], person.liked[: person.counts[0]]
        if log.item_events[item] == 0:
            meet_item(world.vectors, item, numbers.seed)
            meet(world.softmax_mf.items, item, numbers.seed + 1)
            meet(world.bpr.items, item, numbers.seed + 2)
            meet(world.isgd.items, item, numbers.seed + 3)
        if log.user_events[user] == 0:
            meet(world.softmax_mf.users, user, numbers.seed + 4)
            meet(world.bpr.users, user, numbers.seed + 5)
            meet(world.isgd.users, user, numbers.seed + 6)
        for pairs, half_life in ((world.pairs, numbers.covisit_half_life), (world.pairs_fast, numbers.covisit_fast_half_life)):
            learn_co_visitation(
                pairs, history, liked, item, time, half_life, numbers.covisit_depth, numbers.covisit_decay, numbers.covisit_back
            )
        prior = log_prior_of(world, item, items)
        negatives = scratch.negatives[: numbers.mf_negatives]
        drawn = draw_negatives(
            log, log.total[0], items, item, numbers.negatives_window, numbers.recent_share, world.dice, negatives
        )
        learn_softmax_mf(
            world.softmax_mf, user, item, prior, negatives[:drawn], FactorRates(numbers.mf_lr, numbers.mf_l2, numbers.mf_logq),
            scratch.back, scratch.blended,
        )  # fmt: skip
        learn_bpr(
            world.bpr, user, item, negatives[: min(drawn, numbers.bpr_negatives)], FactorRates(numbers.bpr_lr, numbers.bpr_l2, 0.0)
        )
        learn_isgd(world.isgd, user, item, FactorRates(numbers.isgd_lr, numbers.isgd_l2, 0.0))
        depth = min(numbers.vector_depth, history.shape[0])
        _learn_vectors(world, scratch, numbers, items, user, history[:depth], liked[:depth], item, log.total[0], prior)
        remember_engager(world.vectors, item, scratch.vector)
        for _ in range(numbers.vector_replays):
            _replay(world, scratch, numbers, items)
        learn_popularity(world.popularity, half_lives, item, time, 1.0)
    append(log, user, item, time, weight, prior)


@kernel
def _learn_vectors(
    world: World, scratch: Scratch, numbers: Numbers, items: int, user: int, history: I32, liked: F32, item: int, moment: int,
    log_prior: float,
) -> None:  # fmt: skip
    negatives = scratch.negatives[: numbers.vector_negatives]
    drawn = draw_negatives(world.log, moment, items, item, numbers.negatives_window, numbers.recent_share, world.dice, negatives)
    learn_item_vectors(
        world.vectors, user, history, liked, item, log_prior, negatives[:drawn], vector_rates(numbers),
        scratch.vector, scratch.back, scratch.blended,
    )  # fmt: skip


@kernel
def _replay(world: World, scratch: Scratch, numbers: Numbers, items: int) -> None:
    """Learn a past event again, with the history that its user had then; recent events are preferred (uniform squared)."""
    log = world.log
    newest, first = log.total[0], oldest(log)
    if newest == first:
        return
    draw = uniform(world.dice)
    moment = newest - 1 - int(draw * draw * (newest - first))
    at = moment & (log.item.shape[0] - 1)
    if log.weight[at] <= 0 or log.user[at] < 0 or log.item[at] < 0:
        return
    found = history_before(log, log.prev_user[at], scratch.replay_items, scratch.replay_times, scratch.replay_liked)
    depth = min(found, numbers.vector_depth)
    _learn_vectors(
        world, scratch, numbers, items, log.user[at], scratch.replay_items[:depth], scratch.replay_liked[:depth], log.item[at],
        moment, log.log_prior[at],
    )  # fmt: skip


@kernel
def predict_event(
    world: World,
    person: Person,
    scratch: Scratch,
    numbers: Numbers,
    half_lives: F64,
    items: int,
    item: int,
    wanted: Any,
    ranks: I32,
    top: I32,
) -> int:
    """Rank the item that the person is about to take by every model, and teach the blend.

    Args:
        items: items seen so far; `item` is one of them.
        wanted: bool[M], models to rank by. ranks: int32[M], filled, see `Outcome`. top: int32[M, 20], filled.

    Returns:
        Candidates in the pool, negative if the item is not among them.
    """  # fmt: skip
    pop = world.popularity
    taken, count = person.taken, person.counts[1]
    score_sources(world, person, scratch, numbers, half_lives, items)
    rows = pop.values.shape[0]
    judged = scratch.ranks[:rows]
    for h in range(rows):
        judged[h] = rank_of(pop.values[h, :items], item, taken, count)
    leader = leading_half_life(pop)
    ranks[ALL_TIME], ranks[DECAYED] = judged[rows - 1], judged[leader]
    _list(person, scratch, ALL_TIME, pop.values[rows - 1, :items], 0.0, top[ALL_TIME])
    _list(person, scratch, DECAYED, pop.values[leader, :items], 0.0, top[DECAYED])
    judge_half_lives(pop, judged)
    slow = rank_of(scratch.scores[PAIRS, :items], item, taken, count)
    fast = rank_of(scratch.scores[PAIRS_FAST, :items], item, taken, count)
    pairs_row = PAIRS if world.merit[0] >= world.merit[1] else PAIRS_FAST
    for side in range(2):
        world.merit[side] = 0.999 * world.merit[side] + 1.0 / (10.0 + (slow if side == 0 else fast))
    candidates = propose(world, person, scratch, numbers, items)
    for model, row in ((CO_VISITATION, pairs_row), (SESSION_KNN, KNN), (SOFTMAX_MF, FACTORS), (ITEM_VECTORS, VECTORS)):
        if wanted[model]:
            ranks[model] = rank_of(scratch.scores[row, :items], item, taken, count)
            source = len(POPULAR) + row  # that it proposed candidates by these scores gave its list
            for k in range(LISTED):
                top[model, k] = scratch.found[source, k] if k < scratch.found_count[source] else -1
    for model in (ISGD, BPR):
        if wanted[model]:
            factors = world.isgd if model == ISGD else world.bpr
            scores = scratch.scores[SPARE, :items]
            score_factors(factors, person.counts[2], scratch.log_prior, 0.0, scores)
            ranks[model] = rank_of(scores, item, taken, count)
            _list(person, scratch, model, scores, -1e30, top[model])
    if not (wanted[LINEAR] or wanted[BLEND]):
        return 0
    return _predict_blend(world, person, scratch, numbers, items, item, candidates, ranks, top)


@kernel
def score_pool(world: World, person: Person, scratch: Scratch, count: int, learning: bool) -> None:
    """Features of the pool and the scores of both blends, into `scratch.blended` and `scratch.linear`.

    Args:
        count: candidates in the pool, see `propose`; at least one.
        learning: whether the standardisation takes this pool in.
    """
    fill_features(world, person, scratch, count)
    x = scratch.x[:count]
    if learning:
        learn_scale(world.blend, x, scratch.gradient)
    standardise(world.blend, x, scratch.gradient)
    blended = scratch.blended[:count]
    blended[:] = np.float32(0.0)
    networks = scratch.network.shape[0]
    for e in range(networks):
        network_scores(world.blend, e, x, scratch.offset, scratch.hidden[e], scratch.network[e, :count])
        for p in range(count):
            blended[p] += scratch.network[e, p] / np.float32(networks)
    linear_scores(world.blend, x, scratch.offset, bucket_of(person.counts[0]), scratch.linear[:count])


@kernel
def _predict_blend(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, items: int, item: int, count: int, ranks: I32, top: I32
) -> int:
    score_pool(world, person, scratch, count, True)
    target = scratch.in_pool[item] - 1
    for model in (LINEAR, BLEND):
        scores = (scratch.linear if model == LINEAR else scratch.blended)[:count]
        found = best(scores, -1e30, min(LISTED, count), person.marks, 0, scratch.heap, top[model])
        for k in range(found):
            top[model, k] = scratch.pool[top[model, k]]
        for k in range(found, LISTED):
            top[model, k] = -1
        ranks[model] = rank_of(scores, target, person.taken, 0) if target >= 0 else items
    if target < 0:
        return -count
    x = scratch.x[:count]
    for e in range(scratch.network.shape[0]):
        errors = scratch.network[e, :count]
        softmax_errors(errors, target)
        learn_network(world.blend, e, x, errors, scratch.hidden[e], scratch.gradient, numbers.blend_lr, numbers.blend_warm_lr)
    softmax_errors(scratch.linear[:count], target)
    learn_linear(world.blend, x, scratch.linear[:count], bucket_of(person.counts[0]), scratch.gradient, numbers.linear_lr)
    return count


@kernel
def _list(person: Person, scratch: Scratch, model: int, scores: F32, floor: float, out: I32) -> None:
    memory = scratch.found.shape[0] + model
    found = best_again(
        scores, floor, LISTED, person.marks, person.stamp[0], scratch.heap, scratch.known[memory],
        scratch.known_count[memory : memory + 1], out,
    )  # fmt: skip
    for k in range(found, LISTED):
        out[k] = -1


@kernel
def advance_events(
    world: World,
    person: Person,
    scratch: Scratch,
    numbers: Numbers,
    half_lives: F64,
    items_before: int,
    users: I32,
    items: I32,
    times: F64,
    weights: F32,
    asked: Any,
    wanted: Any,
    out_events: I64,
    out_ranks: I32,
    out_top: I32,
    out_facts: I32,
    out_age: F64,
    out_popular: F32,
) -> int:
    """Predict and learn E events in order.

    Args:
        items_before: items known before this batch; codes are given in the order of appearance.
        users, items: codes. times: ms. weights: > 0 taken, < 0 refused, 0 undo. asked: bool[E], whether to rank.
        out_*: columns of `Outcome`, at least as many rows as are asked; facts: pool, reachable, history, item count, items, new.

    Returns:
        How many events were ranked.
    """  # fmt: skip
    known = items_before
    ranked = 0
    log = world.log
    for e in range(users.shape[0]):
        item, user = items[e], users[e]
        ask_for(world, person, numbers, user, times[e])
        new = item >= known
        if asked[e] and weights[e] > 0 and person.marks[item] != person.stamp[0]:
            facts = out_facts[ranked]
            facts[2], facts[3], facts[4] = log.user_events[user], log.item_events[item], known
            out_age[ranked] = 0.0 if new or log.item_events[item] == 0 else times[e] - log.item_first[item]
            if new or log.item_events[item] == 0:
                out_ranks[ranked] = 0
                out_top[ranked] = -1
                facts[0], facts[1] = 0, 0
            else:
                pool = predict_event(
                    world, person, scratch, numbers, half_lives, known, item, wanted, out_ranks[ranked], out_top[ranked]
                )
                facts[0], facts[1] = abs(pool), pool > 0
            mean_listed(log.item_events, out_top[ranked], out_popular[ranked])
            out_events[ranked] = e
            ranked += 1
        known = max(known, item + 1)
        learn_event(world, person, scratch, numbers, half_lives, known, item, times[e], weights[e])
    return ranked
