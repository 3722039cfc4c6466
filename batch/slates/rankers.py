"""The contest of rankers: the same slates, the same split, the same features, and what each of them scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from batch.models.slate_model import PADDING, Judge, Lists, SlateModel
from batch.slates.columns import F32, F64, I64, Bools, Slates, Split
from batch.slates.features import FeatureTable
from batch.slates.judging import Quality, quality
from stream_workers.models.deep.ranker import FeatureScale

BLEND: Final = "blend"
BASELINES: Final = ("random", "as_shown", "clicks", "smoothed_ctr", "strength")


class Ranked(NamedTuple):
    """What a ranker scored, and what that took.

    Attributes:
        validation: float64[V, W]; fitted on what is before the validation. test: float64[T, W]; fitted on all before the test.
        seconds: of both fits and of scoring. length: epochs or rounds chosen by the validation; None where nothing is chosen.
    """

    validation: F64
    test: F64
    seconds: float
    length: int | None = None


@dataclass(frozen=True)
class Contest:
    """Slates with their features, cut by time."""

    slates: Slates
    table: FeatureTable
    split: Split
    seed: int

    def lists(self, rows: I64, scale: FeatureScale) -> Lists:
        """These slates as a model is given them."""
        shown = self.slates.shown[rows]
        labels = np.where(shown, self.slates.clicked[rows], PADDING).astype(np.float32)
        return Lists(scale.inputs(self.table.values[rows], shown), labels)

    def scale(self, rows: I64) -> FeatureScale:
        """What these slates say of the features' scale."""
        return FeatureScale.of(self.table.values[rows], self.slates.shown[rows])

    def judge(self, scores: F64, rows: I64) -> Quality:
        """NDCG@10 and MRR of each of these slates that has a click."""
        return quality(scores, self.slates.shown[rows], self.slates.clicked[rows], self.seed)

    def mean_ndcg(self, scores: F64, rows: I64) -> float:
        """Mean NDCG@10 of these slates."""
        return float(self.judge(scores, rows).ndcg.mean())

    def judge_of(self, rows: I64) -> Judge:
        """`mean_ndcg` of these slates as early stopping asks it."""
        return lambda scores: self.mean_ndcg(scores, rows)


def baselines(contest: Contest) -> dict[str, Ranked]:
    """Orders that need no training: chance, as shown, counters, and the strengths that were learnt slate by slate."""
    table, (slates, width) = contest.table, contest.slates.items.shape
    scores: dict[str, Callable[[], F64 | F32]] = {
        "random": lambda: np.zeros((slates, width)),  # all ties
        "as_shown": lambda: np.broadcast_to(-np.arange(float(width)), (slates, width)),
        "clicks": lambda: table.column("clicks"),
        "smoothed_ctr": lambda: table.column("ctr_10"),
        "strength": lambda: table.column("strength"),
    }
    return {name: unlearnt(contest, np.asarray(scores[name](), np.float64)) for name in BASELINES}


def unlearnt(contest: Contest, scores: F64) -> Ranked:
    """An order that needs no training, by its scores of all slates: float64[S, W]."""
    return Ranked(scores[contest.split.validation], scores[contest.split.test], 0.0)


def learnt(contest: Contest, model: SlateModel) -> Ranked:
    """Fit on the earlier part of the training and choose the length by its later part; then learn all of it for that length.

    The test is scored once, at the end; nothing is chosen by it.
    """
    begun, split, seed = time.perf_counter(), contest.split, contest.seed
    early = contest.scale(split.fit)
    later = contest.lists(split.validation, early)
    chosen = model.fit(contest.lists(split.fit, early), (later, contest.judge_of(split.validation)), seed)
    whole = contest.scale(split.train)
    final = model.refit(contest.lists(split.train, whole), chosen.length, seed)
    test = final.score(contest.lists(split.test, whole))
    return Ranked(chosen.score(later), test, time.perf_counter() - begun, chosen.length)


def blend(contest: Contest, members: Sequence[Ranked]) -> Ranked:
    """The mean of the members' scores, each brought to mean 0 and deviation 1 within its list; no weight is fitted."""
    split, shown = contest.split, contest.slates.shown
    validation = np.mean([_standard(member.validation, shown[split.validation]) for member in members], axis=0)
    test = np.mean([_standard(member.test, shown[split.test]) for member in members], axis=0)
    return Ranked(validation, test, sum(member.seconds for member in members))


def _standard(scores: F64, shown: Bools) -> F64:
    counts = shown.sum(axis=1, keepdims=True)
    around = (scores - (scores * shown).sum(axis=1, keepdims=True) / counts) * shown
    spread = np.sqrt((around**2).sum(axis=1, keepdims=True) / counts)
    standard: F64 = around / np.where(spread > 0, spread, 1)
    return standard


def hold_contest(contest: Contest, models: Sequence[SlateModel], say: Callable[[str], None]) -> dict[str, Ranked]:
    """Every ranker by name: the baselines, the models, and the blend of the models."""
    ranked = baselines(contest)
    ranked.update(_in_turn(contest, models, say))
    if len(models) > 1:
        ranked[BLEND] = blend(contest, [ranked[model.name] for model in models])
    return ranked


def _in_turn(contest: Contest, models: Sequence[SlateModel], say: Callable[[str], None]) -> Iterator[tuple[str, Ranked]]:
    for model in models:
        done = learnt(contest, model)
        reached = contest.mean_ndcg(done.validation, contest.split.validation)
        say(f"{model.name}: validation NDCG@10 {reached:.4f}, {done.seconds:.0f} s")
        yield model.name, done


def best_by_validation(contest: Contest, ranked: Mapping[str, Ranked]) -> str:
    """The ranker that one would serve: the best on the validation, so that its figure on the test is not the luckiest of many."""
    return max(ranked, key=lambda name: contest.mean_ndcg(ranked[name].validation, contest.split.validation))
