"""What all questions have in common until the models learn again: priors, the most popular items, bounds on every logit.

A logit of a factor model is h . q_j + b_j + logq * log prior_j. Only the product depends on who asks, and by Cauchy and Schwarz it
is at most |h| |q_j|. So bias, prior and length of each item's vector, worked out once, tell for every question which few items can
be among the best at all; `search_products` works out only theirs. The result is exact (as in Teflioudi, Gemulla & Mykytiuk, LEMP:
fast retrieval of large entries in a matrix product, 2015).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.numeric import F32, I32, I64, dot, kernel, logarithms
from stream_workers.models.online.popularity import leading_half_life, priors
from stream_workers.models.online.selection import best
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.sources import POPULAR
from stream_workers.models.online.world import World

LEADERS: Final = 512  # items of each list; somebody who had so many of them that too few are left is served by a scan of all
PRIOR_LIST: Final = len(POPULAR)  # row of the list by prior, behind those of the popularities
_LONGER: Final = np.float32(1.00001)  # sums in another order must not make a bound too small


class Standing(NamedTuple):
    """Of I items, of which the first n are known.

    Attributes:
        prior, log_prior: float32[I].
        leaders: int32[S, L], the best items by each popularity that proposes candidates, and by prior; leading: int64[S], how many.
        vector_fixed, factor_fixed: float32[I], b_j + logq * log prior_j of item vectors and of matrix factorisation.
        vector_length, factor_length: float32[I], |q_j|, not less.
    """

    prior: F32
    log_prior: F32
    leaders: I32
    leading: I64
    vector_fixed: F32
    vector_length: F32
    factor_fixed: F32
    factor_length: F32


@kernel
def stand(world: World, numbers: Numbers, items: int, standing: Standing, spare: F32) -> None:
    """Fill `standing` for the first n items of the world as it is.

    Args:
        items: n. spare: float32[>= n], scratch.
    """
    pop = world.popularity
    prior, log_prior = standing.prior[:items], standing.log_prior[:items]
    priors(pop, leading_half_life(pop), prior)
    logarithms(prior, spare[:items], log_prior)
    for s in range(standing.leaders.shape[0]):
        scores = prior if s == PRIOR_LIST else pop.values[POPULAR[s], :items]
        standing.leading[s] = best(scores, 0.0, LEADERS, standing.leaders[s])
    _bounds(
        world.vectors.outward, world.vectors.bias, log_prior, numbers.vector_logq, standing.vector_fixed, standing.vector_length
    )
    _bounds(
        world.softmax_mf.items, world.softmax_mf.bias, log_prior, numbers.mf_logq, standing.factor_fixed, standing.factor_length
    )


@kernel
def _bounds(rows: F32, bias: F32, log_prior: F32, logq: float, fixed: F32, length: F32) -> None:
    for j in range(log_prior.shape[0]):
        fixed[j] = bias[j] + np.float32(logq) * log_prior[j]
        length[j] = _LONGER * np.float32(np.sqrt(dot(rows[j], rows[j])))


def new_standing(items: int) -> Standing:
    """Room for so many items."""

    def row() -> F32:
        return np.zeros(items, np.float32)

    leaders = np.zeros((len(POPULAR) + 1, LEADERS), np.int32)
    return Standing(row(), row(), leaders, np.zeros(len(leaders), np.int64), row(), row(), row(), row())
