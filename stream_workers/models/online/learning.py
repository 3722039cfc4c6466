"""One event, predicted and then learnt: the order that makes every figure of the scoreboard honest."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_workers.models.online.audience import learn_audience
from stream_workers.models.online.bpr import learn_bpr
from stream_workers.models.online.co_visitation import learn_co_visitation
from stream_workers.models.online.dice import draw_negatives, uniform
from stream_workers.models.online.event_log import append, history_before, oldest
from stream_workers.models.online.factors import FactorRates, meet
from stream_workers.models.online.isgd import learn_isgd
from stream_workers.models.online.item_vectors import learn_item_vectors, meet_item, remember_engager
from stream_workers.models.online.numeric import F32, F64, I32, I64, kernel
from stream_workers.models.online.popularity import leading_half_life, learn_popularity
from stream_workers.models.online.predicting import predict_event
from stream_workers.models.online.selection import mean_listed
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.softmax_mf import learn_softmax_mf
from stream_workers.models.online.sources import ask_for, vector_rates
from stream_workers.models.online.world import (
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
    world: World, person: Person, scratch: Scratch, numbers: Numbers, half_lives: F64, items: int, item: int, time: float,
    weight: float,
) -> None:  # fmt: skip
    """Every model learns that the person asked for (see `ask_for`) took `item`; then the log does.

    Args:
        items: item count, this one included.
    """
    log = world.log
    user = person.counts[2]
    prior = 0.0
    if weight > 0:
        history, liked = person.items[: person.counts[0]], person.liked[: person.counts[0]]
        _meet(world, user, item, numbers.seed)
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
        _learn_vectors(world, scratch, numbers, items, user, history, liked, item, log.total[0], prior)
        remember_engager(world.vectors, item, scratch.vector)
        for _ in range(numbers.vector_replays):
            _replay(world, scratch, numbers, items)
        learn_popularity(world.popularity, half_lives, item, time, 1.0)
        learn_audience(world.audience, history.shape[0], time - person.times[0], item, time)
    append(log, user, item, time, weight, prior)


@kernel
def _meet(world: World, user: int, item: int, seed: int) -> None:
    """Give an item or a user that takes part for the first time its first vectors."""
    if world.log.item_events[item] == 0:
        meet_item(world.vectors, item, seed)
        meet(world.softmax_mf.items, item, seed + 1)
        meet(world.bpr.items, item, seed + 2)
        meet(world.isgd.items, item, seed + 3)
    if world.log.user_events[user] == 0:
        meet(world.softmax_mf.users, user, seed + 4)
        meet(world.bpr.users, user, seed + 5)
        meet(world.isgd.users, user, seed + 6)


@kernel
def _learn_vectors(
    world: World, scratch: Scratch, numbers: Numbers, items: int, user: int, history: I32, liked: F32, item: int, moment: int,
    log_prior: float,
) -> None:  # fmt: skip
    depth = min(numbers.vector_depth, history.shape[0])
    negatives = scratch.negatives[: numbers.vector_negatives]
    drawn = draw_negatives(world.log, moment, items, item, numbers.negatives_window, numbers.recent_share, world.dice, negatives)
    learn_item_vectors(
        world.vectors, user, history[:depth], liked[:depth], item, log_prior, negatives[:drawn], vector_rates(numbers),
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
    _learn_vectors(
        world, scratch, numbers, items, log.user[at], scratch.replay_items[:found], scratch.replay_liked[:found], log.item[at],
        moment, log.log_prior[at],
    )  # fmt: skip


@kernel
def advance_events(
    world: World, person: Person, scratch: Scratch, numbers: Numbers, half_lives: F64, items_before: int,
    users: I32, items: I32, times: F64, weights: F32, asked: Any, batch: F32, wanted: Any,
    out_events: I64, out_ranks: I32, out_top: I32, out_facts: I32, out_age: F64, out_popular: F32,
) -> int:  # fmt: skip
    """Predict and learn E events in order.

    Args:
        items_before: items known before this batch; codes are given in the order of appearance.
        users, items: codes. times: ms. weights: > 0 taken, < 0 refused, 0 undo. asked: bool[E], whether to rank.
        batch: float32[asked, models, items], what the published batch models say of each person asked for, see `predict_event`.
        out_*: columns of `Outcome`, at least as many rows as are asked; facts: pool, reachable, history, item count, items, new.

    Returns:
        How many events were ranked.
    """
    known = items_before
    ranked, asked_for = 0, 0
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
                    world, person, scratch, numbers, half_lives, known, item, batch[asked_for], wanted, out_ranks[ranked],
                    out_top[ranked],
                )  # fmt: skip
                facts[0], facts[1] = abs(pool), pool > 0
            mean_listed(log.item_events, out_top[ranked], out_popular[ranked])
            out_events[ranked] = e
            ranked += 1
        asked_for += asked[e]
        known = max(known, item + 1)
        learn_event(world, person, scratch, numbers, half_lives, known, item, times[e], weights[e])
    return ranked
