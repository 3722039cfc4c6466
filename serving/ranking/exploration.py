"""Lists with some chance in them, and how likely each item was: what a later judge needs to learn from the clicks on them.

Each draw tells two exact propensities of every item that is shown:

- `first`: the probability that it is drawn for the first place;
- `inclusion`: the probability that it is anywhere in the list (marginal, over all lists that could have been drawn).

Exact means computed, not counted: in closed form, by dynamic programming, or by an integral with an error below 1e-6.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.ranking.races import among_first, plackett_luce_inclusion

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_CELLS: Final = 1024
_LEAST: Final = 1e-12  # what is drawn was possible, however little of it a double holds


class Drawn(NamedTuple):
    """A list that was drawn.

    Attributes:
        order: int64[k], indices into the pool, first place first. first, inclusion: float64[k], see above, (0, 1].
    """

    order: I64
    first: F64
    inclusion: F64


def dice(request_id: str) -> np.random.Generator:
    """The random numbers of a request: the same for the same id, so that an answer can be drawn again.

    >>> dice("01J").random() == dice("01J").random() != dice("01K").random()
    True
    """
    return np.random.default_rng(int.from_bytes(blake2b(request_id.encode(), digest_size=16).digest()))


def epsilon_greedy(count: int, k: int, epsilon: float, rng: np.random.Generator) -> Drawn:
    """Place by place: with probability epsilon any of the items that are left, each as likely, else the best of them.

        first_r = (1 - epsilon) [r = 0] + epsilon / N,   r the rank from 0

    Inclusion: let V_j(b) be the probability that an item still comes when j places are filled and b better ones are left. V_k = 0,

        V_j(b) = (1 - epsilon) (V_j+1(b - 1) if b > 0 else 1) + epsilon (1 + b V_j+1(b - 1) + (N - j - 1 - b) V_j+1(b)) / (N - j),

    and the item of rank r has V_0(r).

    Args:
        count: N, size of the pool, best first.
    """
    k = min(k, count)
    left = list(range(count))
    explores, picks = rng.random(k) < epsilon, rng.random(k)
    order = np.array(
        [left.pop(int(pick * len(left)) if explore else 0) for explore, pick in zip(explores, picks, strict=True)], np.int64
    )
    first = (1 - epsilon) * (order == 0) + epsilon / max(count, 1)
    return _drawn(order, first, _greedy_inclusion(count, k, epsilon)[order])


def _greedy_inclusion(count: int, k: int, epsilon: float) -> F64:
    better = np.arange(count)
    later = np.zeros(count)
    for place in range(k - 1, -1, -1):
        rest = count - place
        one_less = np.append(0.0, later[:-1])
        greedily = np.where(better > 0, one_less, 1.0)
        worse = np.maximum(rest - 1 - better, 0)
        later = (1 - epsilon) * greedily + epsilon * (1 + better * one_less + worse * later) / rest
    return later


def gumbel_top_k(log_weights: F64, k: int, rng: np.random.Generator) -> Drawn:
    """k items without replacement, each draw a softmax over what is left (Plackett-Luce): the k largest of log w_i + Gumbel noise
    (Kool, van Hoof and Welling, ICML 2019).

        first_i = w_i / sum of w;   inclusion: `plackett_luce_inclusion`

    Args:
        log_weights: float64[N], finite.
    """
    order = np.argsort(-(log_weights + rng.gumbel(size=len(log_weights))), kind="stable")[:k]
    weights = np.exp(log_weights - log_weights.max(initial=-np.inf))
    return _drawn(order, weights[order] / weights.sum(), plackett_luce_inclusion(log_weights, order, k))


def rank_weights(count: int, temperature: float) -> F64:
    """log w of a softmax over an order: -log(1 + r) / temperature for rank r from 0, so that scores of any scale can be explored.

    Args:
        temperature: > 0; small: close to the order, large: close to uniform.
    """
    return -np.log1p(np.arange(count)) / temperature


def thompson(successes: F64, trials: F64, k: int, rng: np.random.Generator) -> Drawn:
    """The k largest of one draw each from Beta(1 + successes, 1 + trials - successes) (Thompson, 1933; Chapelle and Li, NIPS 2011).

    first and inclusion: integrals over the draw's value x of density_i(x) P(at most 0, at most k - 1 others larger), on cells that
    are the finer the closer to 0, where rates of clicks are.

    Args:
        successes, trials: float64[N], 0 <= successes <= trials; of a few hundred trials at most.
    """
    order = np.argsort(-rng.beta(1 + successes, 1 + trials - successes), kind="stable")[:k]
    mass = _beta_masses(successes, trials)
    larger = 1 - (np.cumsum(mass, axis=1) - mass / 2)
    ahead = np.repeat(larger[:, None, :], len(order), axis=1)
    ahead[order, np.arange(len(order))] = 0.0
    return _drawn(order, among_first(mass[order], ahead, 1), among_first(mass[order], ahead, len(order)))


def _beta_masses(successes: F64, trials: F64) -> F64:
    """float64[N, cells]: the probability of each cell of (0, 1)."""
    roots = (np.arange(_CELLS) + 0.5) / _CELLS
    logs = successes[:, None] * 3 * np.log(roots) + (trials - successes)[:, None] * np.log1p(-(roots**3))
    mass = np.exp(logs - logs.max(axis=1, keepdims=True, initial=-np.inf)) * roots**2
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))


def _drawn(order: I64, first: F64, inclusion: F64) -> Drawn:
    return Drawn(order, np.clip(first, _LEAST, 1.0), np.clip(inclusion, _LEAST, 1.0))
