"""What the three matrix factorisations share: a vector per user, a vector and a bias per item."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_workers.models.online.dice import start_vector
from stream_workers.models.online.numeric import F32, dot, kernel


class Factors(NamedTuple):
    """users: float32[U, k]. items: float32[I, k]. bias: float32[I]. Rows are zero until they are met."""

    users: F32
    items: F32
    bias: F32


class FactorRates(NamedTuple):
    """lr: step of gradient descent. l2: shrinkage. logq: weight of the log prior in the logits (softmax alone)."""

    lr: float
    l2: float
    logq: float


_START = 0.1


@kernel
def meet(rows: F32, at: int, seed: int) -> None:
    """Give a new user or item its first vector."""
    start_vector(seed, at, _START, rows[at])


@kernel
def score_factors(factors: Factors, user: int, log_prior: F32, logq: float, out: F32) -> None:
    """Set out: float32[n] to p_u . q_j + b_j + logq * log prior_j for the first n items; user -1: without p_u."""
    for j in range(out.shape[0]):
        out[j] = factors.bias[j] + np.float32(logq) * log_prior[j]
    if user < 0:
        return
    vector = factors.users[user]
    for j in range(out.shape[0]):
        row, total = factors.items[j], np.float32(0.0)
        for d in range(vector.shape[0]):
            total += vector[d] * row[d]
        out[j] += total


@kernel
def bounded(row: F32) -> None:
    """Keep a vector finite whatever the stream does: its norm stays below 100."""
    total = dot(row, row)
    if not np.isfinite(total):
        row[:] = np.float32(0.0)
    elif total > 10_000.0:
        row *= np.float32(100.0) / np.sqrt(total)


def new_factors(users: int, items: int, size: int) -> Factors:
    """Room for users and items that are yet to be met."""
    return Factors(np.zeros((users, size), np.float32), np.zeros((items, size), np.float32), np.zeros(items, np.float32))
