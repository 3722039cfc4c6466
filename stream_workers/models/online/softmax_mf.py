"""Incremental matrix factorisation by sampled softmax with log-popularity correction.

z_j = p_u . q_j + b_j + logq * log prior_j. One event: cross-entropy of the item taken against negatives of the same moment, whose
logits are p_u . q_j + b_j - log(count), because together they are drawn like the prior (logQ correction, Yi et al., 2019;
online matrix
factorisation, Rendle & Schmidt-Thieme, 2008). Plain gradient descent: vectors keep moving with the stream.
"""

from __future__ import annotations

import numpy as np

from stream_workers.models.online.factors import FactorRates, Factors, bounded
from stream_workers.models.online.numeric import F32, I32, kernel
from stream_workers.models.online.sampled_softmax import sampled_errors


@kernel
def learn_softmax_mf(
    factors: Factors, user: int, item: int, log_prior: float, negatives: I32, rates: FactorRates, back: F32, errors: F32
) -> None:
    """One event.

    Args:
        log_prior: of the item. negatives: int32[S]. back: float32[k], scratch. errors: float32[> S], scratch.
    """
    count = negatives.shape[0]
    if count == 0:
        return
    p = factors.users[user]
    sampled_errors(p, factors.items, factors.bias, item, rates.logq * log_prior, negatives, errors)
    back[:] = np.float32(0.0)
    lr, l2 = np.float32(rates.lr), np.float32(rates.l2)
    for s in range(count + 1):
        j = item if s == count else negatives[s]
        error = errors[s]
        q = factors.items[j]
        for d in range(p.shape[0]):
            back[d] += error * q[d]
            q[d] -= lr * (error * p[d] + abs(error) * l2 * q[d])
        factors.bias[j] -= lr * (error + abs(error) * l2 * factors.bias[j])
    bounded(factors.items[item])
    for d in range(p.shape[0]):
        p[d] -= lr * (back[d] + l2 * p[d])
    bounded(p)
