"""What a recommendation and an update cost with softmax matrix factorisation alone: all items ranked exactly, one event learnt.

Once in a compiled loop, as the bank of models runs it, and once through the Python interface of a single model. FluRS published
0.64 ms for the same with its matrix factorisation at 3,600 items (its README; on another machine, not measured here).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from river import reco

from benchmarks.row import Row
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.dice import draw_negatives
from stream_workers.models.online.event_log import append, mark_taken
from stream_workers.models.online.factors import FactorRates, score_factors
from stream_workers.models.online.interface import UserState
from stream_workers.models.online.numeric import F64, I32, I64, kernel, logarithms
from stream_workers.models.online.popularity import leading_half_life, learn_popularity, priors
from stream_workers.models.online.selection import best, hide
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.single_factors import SoftmaxFactors
from stream_workers.models.online.softmax_mf import learn_softmax_mf

ITEMS, USERS, EVENTS = 3600, 1000, 20_000
STEPS, RIVER_STEPS, TOP, TAKEN = 5000, 50, 10, 10_000
FLURS_MS = 0.64
START_MS, STEP_MS = 1_700_000_000_000, 60_000


def run() -> list[Row]:
    """The models know every item; then users are asked for and updated in turn."""
    events = _events()
    compiled, interface, river = _compiled(events), _interface(events), _river(events)
    return [
        Row("mf_recommend_and_update", compiled, "ms", "FluRS, as published", compiled / FLURS_MS, "<= 0.1 times"),
        Row("mf_recommend_and_update", compiled, "ms", "river BiasedMF", compiled / river),
        Row("mf_recommend_and_update/interface", interface, "ms", "river BiasedMF", interface / river),
        Row("mf_recommend_and_update/river BiasedMF", river, "ms"),
    ]


def _events() -> Interactions:
    """Each item once, then Zipf-popular ones, a minute apart."""
    rng = np.random.default_rng(8)
    items = np.concatenate((np.arange(ITEMS), np.minimum(rng.pareto(0.8, EVENTS) * 20, ITEMS - 1).astype(np.int64)))
    users = np.concatenate((np.arange(USERS), rng.integers(0, USERS, len(items) - USERS)))
    times = START_MS + STEP_MS * np.arange(len(items))
    return Interactions.taken([f"user{u}" for u in users.tolist()], [str(i) for i in items.tolist()], times)


@kernel
def _recommend_and_learn(
    tree: Any,
    rates: FactorRates,
    half_lives: F64,
    users: I32,
    items: I32,
    times: F64,
    top: I32,
    marks: I64,
    negatives: I32,
    size: int,
) -> None:
    """For each event the best items of its user, without those taken, into top: int32[E, k]; then it is learnt."""  # fmt: skip
    count = marks.shape[0]
    scores, prior, log_prior = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    taken = np.empty(TAKEN, np.int32)
    back, logits = np.empty(size, np.float32), np.empty(negatives.shape[0] + 1, np.float32)
    for e in range(users.shape[0]):
        user, item = users[e], items[e]
        count_taken = mark_taken(tree.log, user, TAKEN, False, e + 1, marks, taken)
        priors(tree.popularity, leading_half_life(tree.popularity), prior)
        logarithms(prior, scores, log_prior)
        score_factors(tree.factors, user, log_prior, rates.logq, scores)
        hide(scores, taken, count_taken)
        best(scores, -1e30, top.shape[1], top[e])
        drawn = draw_negatives(tree.log, tree.log.total[0], count, item, 1000, 0.5, tree.dice, negatives)
        learn_softmax_mf(tree.factors, user, item, log_prior[item], negatives[:drawn], rates, back, logits)
        learn_popularity(tree.popularity, half_lives, item, times[e], 1.0)
        append(tree.log, user, item, times[e], 1.0, log_prior[item])


def _compiled(events: Interactions) -> float:
    model, settings = _trained(events), BankSettings()
    rates = FactorRates(settings.mf_lr, settings.mf_l2, settings.mf_logq)

    def steps(start: int, end: int) -> float:
        part = events.part(len(events.users) - STEPS + start, len(events.users) - STEPS + end)
        users, items = model.users.codes(part.users), model.items.codes(part.items)
        top = np.full((end - start, TOP), -1, np.int32)
        started = time.perf_counter()
        _recommend_and_learn(
            model._tree, rates, np.array(settings.half_lives), users, items, part.timestamps.astype(np.float64), top,
            np.zeros(ITEMS, np.int64), np.zeros(settings.mf_negatives, np.int32), settings.mf_size,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        assert (top >= 0).all()
        return 1000 * seconds / (end - start)

    steps(0, 1)  # compiles
    return steps(1, STEPS)


def _interface(events: Interactions) -> float:
    model, known = _trained(events), len(events.users) - STEPS

    def step(n: int) -> None:
        event = events.part(known + n, known + n + 1)
        asked = UserState.clicked(event.users[0], (), int(event.timestamps[0]))
        assert len(model.candidates(asked, TOP)) == TOP
        model.learn_many(event)

    return _milliseconds(step, STEPS)


def _trained(events: Interactions) -> SoftmaxFactors:
    model = SoftmaxFactors()
    model.learn_many(events.part(0, len(events.users) - STEPS))
    return model


def _river(events: Interactions) -> float:
    model = reco.BiasedMF(seed=8)
    catalogue = [str(item) for item in range(ITEMS)]
    known = len(events.users) - RIVER_STEPS
    for user, item in zip(events.users[:known], events.items[:known], strict=True):
        model.learn_one(user, item, 1.0)

    def step(n: int) -> None:
        user, item = events.users[known + n], events.items[known + n]
        model.rank(user, catalogue)
        model.learn_one(user, item, 1.0)

    return _milliseconds(step, RIVER_STEPS)


def _milliseconds(step: Callable[[int], None], steps: int) -> float:
    """Mean time of a step, the first left out."""
    step(0)
    started = time.perf_counter()
    for n in range(1, steps):
        step(n)
    return 1000 * (time.perf_counter() - started) / (steps - 1)
