"""How strong items are in competition: a Bayesian logistic model that learns from one slate after the other."""

from __future__ import annotations

from typing import Final

import numpy as np

from batch.slates.columns import F64, I64, Bools

OWN_SD: Final = 0.5
CONTENT_SD: Final = 0.3
_NEWTON_STEPS: Final = 8
_LONGEST_STEP: Final = 3.0


class ItemStrengths:
    """Strength of item i = content_i . w + own_i, with P(click on i | slate) = sigmoid(a + strength_i).

    The slate's own level a is solved so that the expected clicks are those that came: what counts is which of the rivals was
    clicked, not whether this person clicks much (a conditional logit, as in Bradley and Terry, Biometrika 1952, with many winners).
    own_i ~ N(0, own_sd^2) and w ~ N(0, content_sd^2) begin at 0 and follow by one Laplace step per slate; own_i keeps a variance
    per item, w a full covariance. A new item has the strength of its content, a well-known one its own.

    Args:
        content: float64[P, D].
    """

    def __init__(self, content: F64, own_sd: float = OWN_SD, content_sd: float = CONTENT_SD) -> None:
        items, size = content.shape
        self._content = content
        self.own = np.zeros(items)
        self.variance = np.full(items, own_sd**2)
        self._weights = np.zeros(size)
        self._precision = np.eye(size) / content_sd**2

    def of_content(self, items: I64) -> F64:
        """What the content alone says: float64[n]."""
        strengths: F64 = self._content[items] @ self._weights
        return strengths

    def of(self, items: I64) -> F64:
        """Content and own part: float64[n]."""
        strengths: F64 = self.of_content(items) + self.own[items]
        return strengths

    def learn(self, items: I64, clicked: Bools) -> tuple[F64, F64]:
        """Learn from a slate in which some, but not all, items were clicked.

        Returns:
            residuals clicked - p and information p (1 - p) before learning, float64[n] each.
        """
        expected = matched_probabilities(self.of(items), int(clicked.sum()))
        residual, information = clicked - expected, expected * (1 - expected)
        inputs = self._content[items]
        self._precision += inputs.T @ (inputs * information[:, None])
        self._weights += np.linalg.solve(self._precision, inputs.T @ residual)
        self.variance[items] = 1 / (1 / self.variance[items] + information)
        self.own[items] += self.variance[items] * residual
        return residual, information


def matched_probabilities(strengths: F64, clicks: int) -> F64:
    """sigmoid(a + strength) with a such that they add up to `clicks`, which is above 0 and below n: float64[n]. Newton's method.

    >>> matched_probabilities(np.array([0.0, 0.0, 0.0]), 1).round(3)
    array([0.333, 0.333, 0.333])
    """
    level = np.log(clicks / (len(strengths) - clicks)) - strengths.mean()
    for _ in range(_NEWTON_STEPS):
        expected = 1 / (1 + np.exp(-(strengths + level)))
        slope = max(float((expected * (1 - expected)).sum()), 1e-6)
        level -= np.clip((expected.sum() - clicks) / slope, -_LONGEST_STEP, _LONGEST_STEP)
    probabilities: F64 = 1 / (1 + np.exp(-(strengths + level)))
    return probabilities
