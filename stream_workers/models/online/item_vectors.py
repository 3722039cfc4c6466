"""Recency-weighted item vectors: a person is the decayed sum of what they took last, so one click is enough.

h_u = s * P_u + sum_{k<m} gamma^k In[a_k] / sqrt(sum_k gamma^2k)   (a_0 is the newest; what they are against counts negatively)
z_j = h_u . Out_j + b_j + logq * log prior_j,  prior = decayed popularity mixed with uniform

Trained by sampled softmax on each event: the item taken against negatives of the same moment (half from the newest events, half
uniform), which together follow the prior, so a negative's logit carries no log prior (logQ correction, Bengio & Senecal, 2008;
Yi et
al., 2019) but -log of their number. Adagrad with one slowly forgetting accumulator per row. Each event is followed by a few replays
of past events, recent ones preferred, with the history they had then (session-aware averaging as in FPMC and Fossil; He &
McAuley, 2016).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_workers.models.online.dice import start_vector
from stream_workers.models.online.numeric import F32, I32, dot, kernel
from stream_workers.models.online.sampled_softmax import sampled_errors


class ItemVectors(NamedTuple):
    """I items, U users, k dimensions; float32, zero until an item or user is met.

    Attributes:
        inward, outward: [I, k], an item as history and as candidate. bias: [I]. personal: [U, k].
        engagers: [I, k], decayed sum of the h_u of those who took the item: says who it is for from the first click on.
        inward_sq, outward_sq, bias_sq: [I], personal_sq: [U]: mean squared gradients of each row, slowly forgotten.
    """

    inward: F32
    outward: F32
    bias: F32
    personal: F32
    engagers: F32
    inward_sq: F32
    outward_sq: F32
    bias_sq: F32
    personal_sq: F32


class VectorRates(NamedTuple):
    """lr: Adagrad step. l2: shrinkage. gamma: recency. personal: weight s of the user's own vector (0: none). logq: of log
    prior."""

    lr: float
    l2: float
    gamma: float
    personal: float
    logq: float


_FORGET = np.float32(0.999)
_EPSILON = np.float32(1e-6)
_FADE = np.float32(0.98)  # per event of the item
_START = 0.1  # size of new inward vectors; outward ones begin at zero, so that a new item has its bias and prior alone


@kernel
def meet_item(vectors: ItemVectors, item: int, seed: int) -> None:
    """Give a new item its first vectors."""
    start_vector(seed, item, _START, vectors.inward[item])
    vectors.outward[item] = np.float32(0.0)


@kernel
def user_vector(vectors: ItemVectors, user: int, history: I32, liked: F32, rates: VectorRates, out: F32) -> float:
    """Fill out: float32[k] with h_u; user -1: nobody known.

    Returns:
        The norm by which each history item's gamma^k is divided.
    """
    out[:] = np.float32(0.0)
    share, squares = np.float32(1.0), np.float32(0.0)
    for k in range(history.shape[0]):
        sign = share if liked[k] > 0 else -share
        row = vectors.inward[history[k]]
        for d in range(out.shape[0]):
            out[d] += sign * row[d]
        squares += share * share
        share *= np.float32(rates.gamma)
    norm = np.sqrt(squares) if squares > 0 else np.float32(1.0)
    for d in range(out.shape[0]):
        out[d] /= norm
    if user >= 0 and rates.personal > 0:
        for d in range(out.shape[0]):
            out[d] += np.float32(rates.personal) * vectors.personal[user, d]
    return float(norm)


@kernel
def score_item_vectors(vectors: ItemVectors, h: F32, log_prior: F32, logq: float, out: F32) -> None:
    """Set out: float32[n] to the logits of the first n items."""
    for j in range(out.shape[0]):
        row = vectors.outward[j]
        total = np.float32(0.0)
        for d in range(h.shape[0]):
            total += h[d] * row[d]
        out[j] = total + vectors.bias[j] + np.float32(logq) * log_prior[j]


@kernel
def _descend(row: F32, squares: F32, at: int, gradient: F32, scale: float, rates: VectorRates) -> None:
    """One Adagrad step of row along scale * gradient + l2 * row."""
    l2, factor = np.float32(rates.l2), np.float32(scale)
    total = np.float32(0.0)
    for d in range(row.shape[0]):
        g = factor * gradient[d] + l2 * row[d]
        total += g * g
    if not np.isfinite(total):
        return
    squares[at] = _FORGET * squares[at] + total / np.float32(row.shape[0])
    step = np.float32(rates.lr) / np.sqrt(squares[at] + _EPSILON)
    for d in range(row.shape[0]):
        row[d] -= step * (factor * gradient[d] + l2 * row[d])


@kernel
def learn_item_vectors(
    vectors: ItemVectors,
    user: int,
    history: I32,
    liked: F32,
    item: int,
    log_prior: float,
    negatives: I32,
    rates: VectorRates,
    h: F32,
    back: F32,
    errors: F32,
) -> None:
    """One step of sampled softmax for `item` taken by somebody with this history.

    Args:
        log_prior: of the item. negatives: int32[S]. h, back: float32[k], scratch. errors: float32[> S], scratch.
    """  # fmt: skip
    norm = user_vector(vectors, user, history, liked, rates, h)
    count = negatives.shape[0]
    if count == 0:
        return
    sampled_errors(h, vectors.outward, vectors.bias, item, rates.logq * log_prior, negatives, errors)
    back[:] = np.float32(0.0)
    for s in range(count + 1):
        j = item if s == count else negatives[s]
        error = errors[s]
        row = vectors.outward[j]
        for d in range(h.shape[0]):
            back[d] += error * row[d]
        _descend(row, vectors.outward_sq, j, h, error, rates)
        pull = error + np.float32(rates.l2) * vectors.bias[j]
        vectors.bias_sq[j] = _FORGET * vectors.bias_sq[j] + pull * pull
        vectors.bias[j] -= np.float32(rates.lr) * pull / np.sqrt(vectors.bias_sq[j] + _EPSILON)
    share = 1.0 / norm
    for k in range(history.shape[0]):
        _descend(vectors.inward[history[k]], vectors.inward_sq, history[k], back, share if liked[k] > 0 else -share, rates)
        share *= rates.gamma
    if user >= 0 and rates.personal > 0:
        _descend(vectors.personal[user], vectors.personal_sq, user, back, rates.personal, rates)


@kernel
def remember_engager(vectors: ItemVectors, item: int, h: F32) -> None:
    """Add the person who took the item, float32[k]; who came long before counts less."""
    row = vectors.engagers[item]
    scale = np.float32(1.0) / np.sqrt(dot(h, h) + np.float32(1e-12))
    for d in range(h.shape[0]):
        row[d] = _FADE * row[d] + scale * h[d]


def new_item_vectors(items: int, users: int, size: int) -> ItemVectors:
    """Room for items and users that are yet to be met."""
    return ItemVectors(
        inward=np.zeros((items, size), np.float32),
        outward=np.zeros((items, size), np.float32),
        bias=np.zeros(items, np.float32),
        personal=np.zeros((users, size), np.float32),
        engagers=np.zeros((items, size), np.float32),
        inward_sq=np.zeros(items, np.float32),
        outward_sq=np.zeros(items, np.float32),
        bias_sq=np.zeros(items, np.float32),
        personal_sq=np.zeros(users, np.float32),
    )
