"""Logistic regression on list-centred features: the simplest model that knows what a slate is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from batch.models.interface import TrainingFailed
from batch.models.slate_model import F64, FittedSlates, Judge, Lists, SlateModel

_NEWTON_STEPS: Final = 12


@dataclass(frozen=True)
class LinearSlates(SlateModel):
    """P(click) = sigmoid(logit(clicks / items of the list) + x . w), with w ~ N(0, 1 / l2), by Newton's method.

    The offset is the list's own level, so that w explains only who was clicked among rivals.
    """

    name: ClassVar[str] = "linear"
    l2: float = 100.0

    def fit(self, lists: Lists, later: tuple[Lists, Judge], seed: int) -> FittedSlates:
        """There is nothing to stop early."""
        return self.refit(lists, 0, seed)

    def refit(self, lists: Lists, length: int, seed: int) -> FittedSlates:
        """The optimum is unique: neither length nor seed matters."""
        useful = lists.instructive()
        weights = np.zeros(useful.inputs.shape[2])
        inputs, clicked = useful.inputs[useful.shown].astype(np.float64), useful.labels[useful.shown].astype(np.float64)
        level = _levels(useful)[useful.shown]
        for _ in range(_NEWTON_STEPS):
            expected = 1 / (1 + np.exp(-(inputs @ weights + level)))
            curvature = inputs.T @ (inputs * (expected * (1 - expected))[:, None]) + self.l2 * np.eye(len(weights))
            weights += np.linalg.solve(curvature, inputs.T @ (clicked - expected) - self.l2 * weights)
        if not np.isfinite(weights).all():
            raise TrainingFailed("the weights of the linear model are not finite")
        return FittedSlates(lambda asked: asked.inputs @ weights, length)


def _levels(lists: Lists) -> F64:
    """logit(clicks / items) of each place's list: float64[S, W]."""
    clicks, items = (lists.labels == 1).sum(axis=1), lists.shown.sum(axis=1)
    logits: F64 = np.log(clicks / (items - clicks))
    return np.broadcast_to(logits[:, None], lists.labels.shape)
