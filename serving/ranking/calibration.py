"""A list with the mix of categories that the person has: calibrated recommendations (Steck, RecSys 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.ranking.content_vectors import indicators

F64 = NDArray[np.float64]
SMOOTHING: Final = 0.01  # Steck's alpha: keeps the divergence finite while a category is not there yet


class Calibration:
    """The term of calibration. With p the person's mix and q the list's, weight being Steck's lambda, he chooses the list I by

        (1 - lambda) * sum over I of r_i - lambda * KL(p, q~(I)),   q~ = (1 - alpha) q + alpha p,   KL = sum_g p_g log(p_g / q~_g),

    greedily; q_g is the mean over the list of the items' shares of g. So gain_i = -KL(p, q~(chosen and i)).

    Args:
        mix: float64[G], the person's share of each category, sums to 1.
        shares: float64[N, G], each item's: 1 / (number of its categories) for each of those.
        weight: 0: relevance alone; 1: the mix alone.
    """

    def __init__(self, mix: F64, shares: F64, weight: float) -> None:
        liked = mix > 0
        self.weight = weight
        self._mix = mix[liked]
        self._shares = shares[:, liked]
        self._sums = np.zeros(int(liked.sum()))
        self._chosen = 0

    def gains(self) -> F64:
        """See `Term`."""
        listed = (self._sums + self._shares) / (self._chosen + 1)
        smooth = (1 - SMOOTHING) * listed + SMOOTHING * self._mix
        return np.log(smooth / self._mix) @ self._mix

    def take(self, item: int) -> None:
        """See `Term`."""
        self._sums += self._shares[item]
        self._chosen += 1


def mixes(liked: Mapping[str, float], categories: Sequence[Sequence[str]]) -> tuple[F64, F64]:
    """The person's mix, float64[G], and the items' shares, float64[N, G], over the categories that the person likes.

    Args:
        liked: category to a weight; those that are not positive count for nothing.

    >>> mixes({"a": 3.0, "b": 1.0}, [["a"], ["a", "c"]])
    (array([0.75, 0.25]), array([[1. , 0. ],
           [0.5, 0. ]]))
    """
    weights = {name: weight for name, weight in liked.items() if weight > 0}
    columns = {name: at for at, name in enumerate(weights)}
    shares = indicators(categories, columns) / np.maximum([len(own) for own in categories], 1)[:, None]
    mix = np.array(list(weights.values()))
    return mix / mix.sum() if len(mix) else mix, shares
