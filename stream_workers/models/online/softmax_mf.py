"""Incremental matrix factorisation by sampled softmax with log-popularity correction.

z_j = p_u . q_j + b_j + logq * log prior_j. One event: cross-entropy of the item taken against negatives of the same moment, whose
logits are p_u . q_j + b_j - log(count), because together they are drawn like the prior (logQ correction, Yi et al., 2019;
online matrix
factorisation, Rendle & Schmidt-Thieme, 2008). Plain gradient descent: vectors keep moving with the stream.
"""

from __future__ import annotations

import numpy as np

from stream_workers.models.online.factors import FactorRates, Factors, bounded
from stream_workers.models.online.numeric import F32, I32, dot, kernel


@kernel
def learn_softmax_mf(
    factors: Factors, user: int, item: int, log_prior: float, negatives: I32, rates: FactorRates, back: F32, logits: F32
) -> None:
    """One event.

    Args:
        log_prior: of the item. negatives: int32[S]. back: float32[k], scratch. logits: float32[> S], scratch.
    """
    count = negatives.shape[0]
    if count == 0:
        return
    p = factors.users[user]
    shift = np.float32(np.log(float(count)))
    logits[count] = dot(p, factors.items[item]) + factors.bias[item] + np.float32(rates.logq * log_prior)
    largest = logits[count]
    for s in range(count):
        logits[s] = dot(p, factors.items[negatives[s]]) + factors.bias[negatives[s]] - shift
        largest = max(largest, logits[s])
    total = np.float32(0.0)
    for s in range(count + 1):
        logits[s] = np.exp(logits[s] - largest)
        total += logits[s]
    back[:] = np.float32(0.0)
    lr, l2 = np.float32(rates.lr), np.float32(rates.l2)
    for s in range(count + 1):
        j = item if s == count else negatives[s]
        error = logits[s] / total - (np.float32(1.0) if s == count else np.float32(0.0))
        q = factors.items[j]
        for d in range(p.shape[0]):
            back[d] += error * q[d]
            q[d] -= lr * (error * p[d] + abs(error) * l2 * q[d])
        factors.bias[j] -= lr * (error + abs(error) * l2 * factors.bias[j])
    bounded(factors.items[item])
    for d in range(p.shape[0]):
        p[d] -= lr * (back[d] + l2 * p[d])
    bounded(p)
