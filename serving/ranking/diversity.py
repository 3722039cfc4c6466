"""Items unlike each other: maximal marginal relevance, and determinantal point processes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
OWN: Final = 0.1  # the part of every item that it has in common with no other


class Redundancy:
    """The term of maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), lambda = 1 - weight:

        gain_i = -max over the chosen j: cos(i, j),   0 for the first

    Args:
        vectors: float64[N, T] of length 1 (or 0: like nothing).
        weight: 0: relevance alone; 1: unlikeness alone.
    """

    def __init__(self, vectors: F64, weight: float) -> None:
        self.weight = weight
        self._vectors = vectors
        self._likest = np.zeros(len(vectors))

    def gains(self) -> F64:
        """See `Term`."""
        return -self._likest

    def take(self, item: int) -> None:
        """See `Term`."""
        np.maximum(self._likest, self._vectors @ self._vectors[item], out=self._likest)


class Volume:
    """The term of greedy MAP inference for a determinantal point process (Chen, Zhang and Zhou, NeurIPS 2018).

    With the kernel L = diag(q) S diag(q), q_i = exp(theta r_i / (2 (1 - theta))), theta = 1 - weight, they maximise

        log P(Y) ~ theta * sum over Y of r_i + (1 - theta) * log det S_Y,

    whose greedy step is theta r_i + (1 - theta) log d_i^2: d_i is the new diagonal entry of the Cholesky factor of S_Y with i,
    kept for all items by e_i = (S_ji - <c_j, c_i>) / d_j, d_i^2 <- d_i^2 - e_i^2. So gain_i = log d_i^2, and a step costs O(N k).
    Here S_ii = 1 and S_ij = (1 - OWN) cos(i, j), which keeps every d_i^2 >= OWN: two items of the same categories are not the same.

    Args:
        vectors: float64[N, T] of length 1 (or 0: like nothing).
        weight: 0: relevance alone; 1: the determinant alone.
    """

    def __init__(self, vectors: F64, weight: float) -> None:
        self.weight = weight
        self._vectors = vectors
        self._left = np.ones(len(vectors))
        self._factor = np.zeros((0, len(vectors)))

    def gains(self) -> F64:
        """See `Term`."""
        return np.log(np.maximum(self._left, OWN))  # rounding alone could bring it below

    def take(self, item: int) -> None:
        """See `Term`."""
        likeness = (1 - OWN) * (self._vectors @ self._vectors[item])
        likeness[item] = 1.0
        row = (likeness - self._factor.T @ self._factor[:, item]) / np.sqrt(max(self._left[item], OWN))
        self._left -= row**2
        self._factor = np.vstack((self._factor, row))
