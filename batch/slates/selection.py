"""Which features matter: what is lost without a group, and what is lost when a feature is shuffled. The test is not looked at."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from batch.models.slate_model import F64, FittedSlates, Judge, Lists, SlateModel
from batch.shuffling import drops
from batch.slates.columns import I64
from batch.slates.features import GROUPS
from batch.slates.rankers import Contest


class GroupLoss(NamedTuple):
    """A group of features: NDCG@10 on the validation of a model trained without it, and of one trained with nothing else."""

    group: str
    without: float
    alone: float


class Importance(NamedTuple):
    """A feature: how much NDCG@10 on the validation falls when its values are shuffled, mean of `REPEATS`."""

    name: str
    group: str
    drop: float


class Selection(NamedTuple):
    """What was found; `whole` is NDCG@10 on the validation with all features, `importances` fall."""

    whole: float
    groups: tuple[GroupLoss, ...]
    importances: tuple[Importance, ...]


def select(contest: Contest, model: SlateModel) -> Selection:
    """Ablation per group and permutation importance per feature (Breiman, 2001), fit and judged before the test."""
    scale = contest.scale(contest.split.fit)
    fit, later = contest.lists(contest.split.fit, scale), contest.lists(contest.split.validation, scale)
    judge = contest.judge_of(contest.split.validation)
    fitted = model.fit(fit, (later, judge), contest.seed)
    groups = np.array(contest.table.groups)

    def trained_on(columns: F64) -> float:
        both = np.flatnonzero(np.tile(columns, 2))  # each feature is there twice: against its slate, and as it is
        few = later.only(both)
        return judge(model.refit(fit.only(both), fitted.length, contest.seed).score(few))

    ablated = tuple(GroupLoss(group, trained_on(groups != group), trained_on(groups == group)) for group in GROUPS)
    whole = judge(fitted.score(later))
    group_of = dict(zip(contest.table.names, contest.table.groups, strict=True))
    ways = {name: partial(_quality_without, fitted, judge, later, at) for at, name in enumerate(contest.table.names)}
    falling = drops(whole, ways, np.random.default_rng(contest.seed))
    return Selection(whole, ablated, tuple(Importance(name, group_of[name], drop) for name, drop in falling.items()))


def _quality_without(fitted: FittedSlates, judge: Judge, later: Lists, feature: int, rng: np.random.Generator) -> float:
    return judge(fitted.score(_shuffled(later, feature, rng)))


def _shuffled(lists: Lists, feature: int, rng: np.random.Generator) -> Lists:
    """The lists with both inputs of one feature taken from other places, together, so that they still fit each other."""
    inputs, shown = lists.inputs.copy(), lists.shown
    columns: I64 = np.array([feature, feature + inputs.shape[2] // 2])
    values = inputs[shown]
    values[:, columns] = rng.permutation(values[:, columns])
    inputs[shown] = values
    return lists._replace(inputs=inputs)
