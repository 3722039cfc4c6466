"""LambdaMART: boosted trees on slates, the peer of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import lightgbm
import numpy as np

from batch.models.slate_model import F64, FittedSlates, Judge, Lists, SlateModel


@dataclass(frozen=True)
class LambdaMart(SlateModel):
    """LightGBM with the LambdaRank objective (Burges 2010; Ke et al., NIPS 2017), one thread, reproducible.

    After every `step` rounds the judge looks at the later lists; the best number of rounds is kept. Offsets are the score that
    boosting begins with, places are explained by LightGBM's own bias of each.
    """

    name: ClassVar[str] = "lambdamart"
    rounds: int = 300
    step: int = 25
    leaves: int = 15
    learning_rate: float = 0.05
    least_rows: int = 50
    feature_share: float = 0.5
    row_share: float = 0.7
    l2: float = 5.0

    def fit(self, lists: Lists, later: tuple[Lists, Judge], seed: int) -> FittedSlates:
        """All rounds, then the best number of them."""
        booster, (asked, judge) = self._boosted(lists, self.rounds, seed), later
        lengths = range(self.step, self.rounds + 1, self.step)
        best = max(lengths, key=lambda length: judge(_scores(booster, asked, length)))
        return FittedSlates(lambda lists: _scores(booster, lists, best), best)

    def refit(self, lists: Lists, length: int, seed: int) -> FittedSlates:
        """Exactly `length` rounds."""
        booster = self._boosted(lists, length, seed)
        return FittedSlates(lambda lists: _scores(booster, lists, length), length)

    def _boosted(self, lists: Lists, rounds: int, seed: int) -> Any:
        useful = lists.instructive()
        rows = lightgbm.Dataset(
            useful.inputs[useful.shown], useful.labels[useful.shown].astype(np.int32), group=useful.shown.sum(axis=1),
            init_score=None if useful.offsets is None else useful.offsets[useful.shown],
            position=None if useful.places is None else useful.places[useful.shown],
        )  # fmt: skip
        return lightgbm.train(self._parameters(seed), rows, rounds)

    def _parameters(self, seed: int) -> dict[str, Any]:
        return {
            "objective": "lambdarank",
            "lambdarank_truncation_level": 30,
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.least_rows,
            "feature_fraction": self.feature_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.l2,
            "seed": seed,
            "deterministic": True,
            "num_threads": 1,
            "verbose": -1,
        }


def _scores(booster: Any, lists: Lists, rounds: int) -> F64:
    scores = np.zeros(lists.labels.shape)
    scores[lists.shown] = booster.predict(lists.inputs[lists.shown], num_iteration=rounds, num_threads=1)
    return scores if lists.offsets is None else scores + lists.offsets
