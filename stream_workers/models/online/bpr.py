"""Bayesian personalised ranking, one event at a time: the item taken must score above items that were not.

Loss -log sigma(x_ui - x_uj) - l2 * |theta|^2, x_uj = p_u . q_j + b_j (Rendle et al., 2009), negatives of the same moment as in
softmax.
A comparison: sampled softmax, which looks at all negatives at once, is the one that feeds the blend.
"""

from __future__ import annotations

import numpy as np

from stream_workers.models.online.factors import FactorRates, Factors, bounded
from stream_workers.models.online.numeric import I32, dot, kernel


@kernel
def learn_bpr(factors: Factors, user: int, item: int, negatives: I32, rates: FactorRates) -> None:
    """One event. `negatives`: int32[S]."""
    p, q = factors.users[user], factors.items[item]
    lr, l2 = np.float32(rates.lr), np.float32(rates.l2)
    for s in range(negatives.shape[0]):
        other = factors.items[negatives[s]]
        margin = dot(p, q) - dot(p, other) + factors.bias[item] - factors.bias[negatives[s]]
        pull = np.float32(1.0 / (1.0 + np.exp(min(max(margin, -50.0), 50.0))))
        for d in range(p.shape[0]):
            p_d, q_d, o_d = p[d], q[d], other[d]
            p[d] += lr * (pull * (q_d - o_d) - l2 * p_d)
            q[d] += lr * (pull * p_d - l2 * q_d)
            other[d] -= lr * (pull * p_d + l2 * o_d)
        factors.bias[item] += lr * (pull - l2 * factors.bias[item])
        factors.bias[negatives[s]] -= lr * (pull + l2 * factors.bias[negatives[s]])
        bounded(other)
    bounded(p)
    bounded(q)
