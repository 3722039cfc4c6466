"""The selector with chance in it: which of the ordered candidates get the places, and how likely that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from serving.plan import Plan
from serving.ranking.exploration import Drawn, dice, epsilon_greedy, gumbel_top_k, rank_weights, thompson

Scored = tuple[str, float]


class Propensity(NamedTuple):
    """How likely an item of a list was, given all that was known.

    Attributes:
        inclusion: to be anywhere in the list. first: to be in its first place; None: it was not drawn as a whole.
    """

    inclusion: float
    first: float | None = None


class Tried(NamedTuple):
    """What is known of an item's success.

    Attributes:
        shown: impressions of this process. taken: positive events over all time.
    """

    shown: int = 0
    taken: int = 0

    @property
    def trials(self) -> int:
        """How often it could have been taken: an event without an impression counts as one."""
        return max(self.shown, self.taken)


Selected = tuple[list[Scored], dict[str, Propensity]]


def whole_list(plan: Plan, order: Sequence[Scored], k: int) -> Selected:
    """k of the best of an order, every place of them with chance: epsilon-greedy, or softmax over the ranks."""
    pool = order[: max(k, plan.exploration.pool)]
    rng = dice(plan.request_id)
    if plan.exploration.method == "softmax":
        drawn = gumbel_top_k(rank_weights(len(pool), plan.explore), k, rng)
    else:
        drawn = epsilon_greedy(len(pool), k, plan.explore, rng)
    return _picked(pool, drawn)


def places_of(plan: Plan, k: int) -> int:
    """How many places Thompson sampling gives away: the share that is asked for, at least one."""
    return min(k, max(1, round(plan.explore * k)))


def some_places(plan: Plan, order: Sequence[Scored], hopefuls: Mapping[str, Tried], k: int) -> Selected:
    """The best of an order, with a few places, spread evenly, for those of which little is known, by Thompson sampling.

    The others have their places for sure (propensity 1).

    Args:
        hopefuls: items that stand behind the first k - places of the order, to what is known of them.
    """
    names = list(hopefuls)
    taken = np.array([float(tried.taken) for tried in hopefuls.values()])
    trials = np.array([float(tried.trials) for tried in hopefuls.values()])
    drawn = thompson(taken, trials, min(places_of(plan, k), len(names)), dice(plan.request_id))
    scores = dict(order)
    explored = [(names[at], scores.get(names[at], 0.0)) for at in drawn.order.tolist()]
    fresh = {item for item, _ in explored}
    sure = [(item, score) for item, score in order if item not in fresh][: k - len(explored)]
    chosen = list(sure)
    for nth, one in enumerate(explored, 1):
        chosen.insert(nth * k // (len(explored) + 1), one)
    propensities = {item: Propensity(1.0) for item, _ in sure}
    inclusion = zip(explored, drawn.inclusion.tolist(), strict=True)
    return chosen, propensities | {item: Propensity(likely) for (item, _), likely in inclusion}


def _picked(pool: Sequence[Scored], drawn: Drawn) -> Selected:
    chosen = [pool[at] for at in drawn.order.tolist()]
    told = zip(chosen, drawn.inclusion.tolist(), drawn.first.tolist(), strict=True)
    return chosen, {item: Propensity(inclusion, first) for (item, _), inclusion, first in told}
