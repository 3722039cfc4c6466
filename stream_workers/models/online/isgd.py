"""ISGD: incremental matrix factorisation of positive feedback alone (Vinagre, Jorge & Gama, 2014).

err = 1 - p_u . q_i; p_u += lr * (err * q_i - l2 * p_u); q_i += lr * (err * p_u - l2 * q_i). The floor: without negatives every
item is
pulled towards every user. Kept as the comparison that the literature uses.
"""

from __future__ import annotations

import numpy as np

from stream_workers.models.online.factors import FactorRates, Factors, bounded
from stream_workers.models.online.numeric import dot, kernel


@kernel
def learn_isgd(factors: Factors, user: int, item: int, rates: FactorRates) -> None:
    """One event."""
    p, q = factors.users[user], factors.items[item]
    error = np.float32(1.0) - dot(p, q)
    lr, l2 = np.float32(rates.lr), np.float32(rates.l2)
    for d in range(p.shape[0]):
        before = p[d]
        p[d] += lr * (error * q[d] - l2 * before)
        q[d] += lr * (error * before - l2 * q[d])
    bounded(p)
    bounded(q)
