"""Training the ranker behind the blend on logged slates, and what it is worth beside the blend's own order on later ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from batch.models.ranker import RankingNetwork, place_bias, to_serve
from batch.models.slate_model import Lists
from batch.models.slate_trees import LambdaMart
from batch.slates.columns import F32, F64, I64, Split, split_by_time
from batch.slates.features import FeatureTable
from batch.slates.logged import LoggedSlates
from batch.slates.rankers import Contest, Ranked, learnt, unlearnt
from evaluation.intervals import Interval, paired_difference, user_blocked
from schemas.errors import InvalidInput
from stream_workers.models.deep.blend_ranker import BlendRanker
from stream_workers.models.deep.ranker import FeatureScale

BLEND: Final = "blend"
AS_SHOWN: Final = "as_shown"
Say = Callable[[str], None]


@dataclass(frozen=True)
class LoggedContest(Contest):
    """The contest on logged slates: every model corrects the blend, and the place explains what it can.

    Attributes:
        places: int64[S, W], where each item stood.
    """

    places: I64

    def lists(self, rows: I64, scale: FeatureScale) -> Lists:
        """These slates as a model is given them, with the blend's log p as offsets."""
        return super().lists(rows, scale)._replace(offsets=self.own[rows], places=self.places[rows].astype(np.int32))

    @property
    def own(self) -> F32:
        """The blend's log p: float32[S, W]."""
        log_shares: F32 = self.table.values[:, :, -1]
        return log_shares


class JudgedRanker(NamedTuple):
    """A ranker on the later slates: mean NDCG@10 with 95 % bounds, users resampled; the same of its gain over the blend's order."""

    ndcg: Interval
    gain: Interval


class TrainedRanker(NamedTuple):
    """The ranker that serves, and how it was judged.

    Attributes:
        contest: what it learnt from and was judged on. ndcg: float64[Q] by ranker, of each later slate with a click.
        figures: by name: `as_shown`, `blend`, `lambdamart`, and the network by its loss. loss: the network's.
        questions: int64[Q], rows of those slates. length: epochs. place_bias: what each place adds to a score, less the first.
    """

    ranker: BlendRanker
    contest: LoggedContest
    ndcg: Mapping[str, F64]
    figures: Mapping[str, JudgedRanker]
    loss: str
    questions: I64
    length: int
    place_bias: F64
    seconds: float


def network_of(loss: str) -> RankingNetwork:
    """The network with this loss. Less dropout and more epochs than on slates of content: the blend has done the work already, and
    what is left of it are small corrections.

    Raises:
        InvalidInput: no such loss.
    """
    return RankingNetwork(loss=loss, dropout=0.1, epochs=12, patience=3)


def train_blend_ranker(logged: LoggedSlates, network: RankingNetwork, seed: int, say: Say) -> TrainedRanker:
    """Learn on the earlier slates, choose the epochs on later ones, judge on the last fifth, which nothing was chosen by.

    The judge takes the clicks as they came. A place high in the list earns clicks by itself, and the blend (or the ranker that
    served then) gave out the places: its order has that advantage in the comparison, and whatever beats it does so against that.

    Raises:
        InvalidInput: too few slates, or too short a time, for a split.
        TrainingFailed: the loss or the scores were not finite.
    """
    contest = contest_of(logged, seed)
    ranked = _baselines(contest)
    ranked[LambdaMart.name] = learnt(contest, LambdaMart())
    say(f"{LambdaMart.name}: {ranked[LambdaMart.name].seconds:.0f} s")
    ranker, mine, bias = _network(contest, network, logged.features)
    say(f"{network.loss}: {mine.length} epochs, {mine.seconds:.0f} s")
    ranked[network.loss] = mine
    questions = contest.split.test[contest.slates.judged()[contest.split.test]]
    ndcg = {name: contest.judge(one.test, contest.split.test).ndcg for name, one in ranked.items()}
    figures = _figures(ndcg, contest.slates.sessions[questions], seed)
    return TrainedRanker(ranker, contest, ndcg, figures, network.loss, questions, mine.length or 0, bias, mine.seconds)


def contest_of(logged: LoggedSlates, seed: int) -> LoggedContest:
    """The slates cut by time; those whose clicks were not all known when the next part began are left out of the earlier one."""
    slates, width = logged.slates, logged.vectors.shape[2]
    names = (*(f"feature_{n}" for n in range(width - 1)), "log_share")
    whole = split_by_time(slates)
    middle = int(slates.times[whole.validation[0]])
    fit = whole.fit[slates.times[whole.fit] + logged.window < middle]
    validation = whole.validation[slates.times[whole.validation] + logged.window < whole.boundary]
    for name, rows in (("training", fit), ("validation", validation)):
        if not slates.instructive()[rows].any():
            raise InvalidInput(f"the {name} part is shorter than the window of {logged.window / 60_000:g} minutes: more is needed")
    table = FeatureTable(logged.vectors, names, ("blend",) * width)
    return LoggedContest(slates, table, Split(fit, validation, whole.test, whole.boundary), seed, logged.places)


def served_scores(contest: LoggedContest, ranker: BlendRanker, rows: I64) -> F64:
    """What the ranker as it serves says of these slates: float64[R, W]."""
    values, shown = contest.table.values[rows], contest.slates.shown[rows]
    return ranker.score_slates(values, shown).astype(np.float64)


def _baselines(contest: LoggedContest) -> dict[str, Ranked]:
    return {
        AS_SHOWN: unlearnt(contest, -contest.places.astype(np.float64)),
        BLEND: unlearnt(contest, contest.own.astype(np.float64)),
    }


def _network(contest: LoggedContest, network: RankingNetwork, features: str) -> tuple[BlendRanker, Ranked, F64]:
    """The ranker in NumPy, what it scores, and the bias of the places."""
    begun, split, seed = time.perf_counter(), contest.split, contest.seed
    early, whole = contest.scale(split.fit), contest.scale(split.train)
    later = contest.lists(split.validation, early)
    chosen = network.fit(contest.lists(split.fit, early), (later, contest.judge_of(split.validation)), seed)
    model = network.train(contest.lists(split.train, whole), chosen.length, seed)
    ranker = BlendRanker(to_serve(model, whole), features)
    test = served_scores(contest, ranker, split.test)
    return ranker, Ranked(chosen.score(later), test, time.perf_counter() - begun, chosen.length), place_bias(model)


def _figures(ndcg: Mapping[str, F64], users: I64, seed: int) -> dict[str, JudgedRanker]:
    return {
        name: JudgedRanker(
            user_blocked(values, users, np.random.default_rng(seed)),
            paired_difference(values, ndcg[BLEND], np.random.default_rng(seed), users),
        )
        for name, values in ndcg.items()
    }
