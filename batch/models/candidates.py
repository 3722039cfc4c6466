"""Which items a training step ranks against the one that was taken, and how often each of them is drawn for that."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import F32, I64

EXCLUDED: Final = np.float32(-1e9)
"""Added to the logit of what is no candidate."""


class Mixture(NamedTuple):
    """Items drawn from q = uniform / P + (1 - uniform) * popularity (mixed negative sampling, Yang et al., WWW 2020).

    Attributes:
        popularity: float64[P], each item's share of the log. uniform: share of uniform draws, above 0: every item has a chance.
    """

    popularity: NDArray[np.float64]
    uniform: float

    @classmethod
    def of(cls, counts: I64, uniform: float) -> Mixture:
        """From how often each of the P items was taken."""
        return cls(counts / max(counts.sum(), 1), uniform)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """q: float64[P]."""
        return self.uniform / len(self.popularity) + (1 - self.uniform) * self.popularity

    def log_probabilities(self) -> F32:
        """log q; a sampled softmax that takes it off the logits estimates the full one (logQ correction, Yi et al., 2019)."""
        return np.log(self.probabilities).astype(np.float32)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> I64:
        """Items of that shape, with replacement."""
        upper = np.cumsum(self.probabilities)
        found = np.searchsorted(upper / upper[-1], rng.random(shape), side="right")
        return np.minimum(found, len(upper) - 1).astype(np.int64)


class InBatch:
    """The candidates of a step: the items that its events took, and `uniform` more, drawn from all.

    Args:
        counts: int64[P], how often each item was taken in the log. batch: events a step.
    """

    def __init__(self, counts: I64, batch: int, uniform: int) -> None:
        self._size, self._uniform = len(counts), uniform
        self._corrections = -Mixture.of(counts, uniform / (uniform + batch)).log_probabilities()

    def of(self, targets: I64, rng: np.random.Generator) -> tuple[I64, F32]:
        """(candidates int64[C], what to add to their logits float32[B, C]); candidate b is target b.

        That is -log q, and -1e9 where the target of the row stands a second time.
        """
        candidates = np.concatenate([targets, rng.integers(self._size, size=self._uniform)])
        again = candidates == targets[:, None]
        own = np.arange(len(targets))
        again[own, own] = False
        return candidates, np.where(again, EXCLUDED, self._corrections[candidates])
