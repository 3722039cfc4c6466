"""The blend: a small network over the features of a pool of candidates, and a linear model beside it, trained event by event.

network:  s_j = w2 . relu(W1 x_j + b1) + wl . x_j + log prior_j        linear: s_j = (w + w_bucket) . x_j + log prior_j
The blend is the mean of a few networks that differ in their first weights, each trained on its own errors (deep ensembles,
Lakshminarayanan et al., 2017).
loss:     cross-entropy of the item taken under the softmax of s over the pool; nothing is learnt when it is not in the pool.

x_j are features standardised by running mean and variance, clipped to +-6. The bucket is one of four by history length. The network
learns by Adam (Kingma & Ba, 2015), the linear model by Adagrad (Duchi et al., 2011). log prior_j is the log of decayed
popularity, an
offset, so that an untrained blend ranks by popularity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_workers.models.online.numeric import F32, F64, dot, kernel

BUCKETS = 4
_CLIP = np.float32(6.0)
_BETA1, _BETA2 = 0.9, 0.99


class Blend(NamedTuple):
    """E networks, F features, H hidden units.

    Attributes:
        mean, variance: float64[F] of the features. pools: float64[1], pools that they were taken from.
        theta, first, second: float32[E, T], each network's weights (W1 [F, H], b1 [H], w2 [H], wl [F], one after the other)
            and Adam's moments.
        steps: float64[E], events learnt.
        linear, linear_sq: float32[1 + BUCKETS, F], shared weights and those of each bucket, and Adagrad's sums.
    """

    mean: F64
    variance: F64
    pools: F64
    theta: F32
    first: F32
    second: F32
    steps: F64
    linear: F32
    linear_sq: F32


@kernel
def bucket_of(history: int) -> int:
    """0, 1-2, 3-14, 15 or more events."""
    return 0 if history == 0 else 1 if history < 3 else 2 if history < 15 else 3


@kernel
def learn_scale(blend: Blend, x: F32, count: int) -> None:
    """Take the features of one pool, float32[F, >= count], into mean and variance.

    A feature that differs for the first time (a source that was not there before) begins with what this pool has.
    """
    blend.pools[0] += 1.0
    usual = max(1.0 / blend.pools[0], 1e-3)
    for f in range(x.shape[0]):
        values = x[f, :count]
        total, squares = np.float32(0.0), np.float32(0.0)
        for p in range(count):
            total += values[p]
            squares += values[p] * values[p]
        mean = total / count
        spread = max(0.0, float(squares / count - mean * mean))
        gap = mean - blend.mean[f]
        rate = 1.0 if blend.variance[f] == 0.0 and spread > 0.0 else usual
        blend.mean[f] += rate * gap
        blend.variance[f] += rate * (spread + (1.0 - rate) * gap * gap - blend.variance[f])


@kernel
def standardise(blend: Blend, x: F32, count: int) -> None:
    """Bring the features of a pool, float32[F, >= count], to mean 0 and variance 1 in place.

    Those that never differed say nothing: 0.
    """
    for f in range(x.shape[0]):
        values = x[f, :count]
        mean = np.float32(blend.mean[f])
        scale = np.float32(1.0 / np.sqrt(blend.variance[f] + 1e-6)) if blend.variance[f] > 0.0 else np.float32(0.0)
        for p in range(count):
            values[p] = min(max((values[p] - mean) * scale, -_CLIP), _CLIP)


@kernel
def network_scores(blend: Blend, network: int, x: F32, offset: F32, hidden: F32, out: F32) -> None:
    """Set out: float32[P] to one network's scores.

    Args:
        x: float32[F, >= P]. offset: float32[P]. hidden: float32[H, >= P], keeps the activations.
    """
    features, size, count = x.shape[0], hidden.shape[0], out.shape[0]
    theta = blend.theta[network]
    w1 = theta[: features * size].reshape(features, size)
    b1 = theta[features * size : (features + 1) * size]
    w2 = theta[(features + 1) * size : (features + 2) * size]
    skip = theta[(features + 2) * size :]
    out[:] = offset
    for f in range(features):
        _add_scaled(out, skip[f], x[f, :count])
    for h in range(size):
        row = hidden[h, :count]
        row[:] = b1[h]
        for f in range(0, features - 3, 4):  # four at a time: the row is read and written a quarter as often
            wa, wb, wc, wd = w1[f, h], w1[f + 1, h], w1[f + 2, h], w1[f + 3, h]
            a, b, c, d = x[f, :count], x[f + 1, :count], x[f + 2, :count], x[f + 3, :count]
            for p in range(count):
                row[p] += wa * a[p] + wb * b[p] + wc * c[p] + wd * d[p]
        for f in range(features - features % 4, features):
            _add_scaled(row, w1[f, h], x[f, :count])
        for p in range(count):
            row[p] = max(row[p], np.float32(0.0))
        _add_scaled(out, w2[h], row)


@kernel
def _add_scaled(total: F32, factor: float, values: F32) -> None:
    """total += factor * values."""
    for p in range(total.shape[0]):
        total[p] += factor * values[p]


@kernel
def softmax_errors(scores: F32, target: int) -> None:
    """Scores to gradients of the cross-entropy, softmax - one-hot, in place."""
    largest = scores.max()
    total = np.float32(0.0)
    for p in range(scores.shape[0]):
        scores[p] = np.exp(scores[p] - largest)
        total += scores[p]
    for p in range(scores.shape[0]):
        scores[p] /= total
    scores[target] -= np.float32(1.0)


@kernel
def learn_network(blend: Blend, network: int, x: F32, errors: F32, hidden: F32, gradient: F32, lr: float, warm_lr: float) -> None:
    """One step of Adam.

    Args:
        x: float32[F, >= P]. errors: float32[P], from `softmax_errors`. hidden: float32[H, >= P], from `network_scores`; used up.
        gradient: float32[T], scratch. lr: step; it begins at `warm_lr` and comes down within some thousand events.
    """
    features, size, count = x.shape[0], hidden.shape[0], errors.shape[0]
    g_w1 = gradient[: features * size].reshape(features, size)
    g_b1 = gradient[features * size : (features + 1) * size]
    g_w2 = gradient[(features + 1) * size : (features + 2) * size]
    g_skip = gradient[(features + 2) * size :]
    w2 = blend.theta[network, (features + 1) * size : (features + 2) * size]
    for h in range(size):
        back = hidden[h, :count]
        g_w2[h] = dot(errors, back)
        pull, total = w2[h], np.float32(0.0)
        for p in range(count):
            back[p] = errors[p] * pull if back[p] > 0 else np.float32(0.0)
            total += back[p]
        g_b1[h] = total
    for f in range(features):
        values = x[f, :count]
        g_skip[f] = dot(errors, values)
        for h in range(0, size - 3, 4):  # four at a time: the feature is read a quarter as often
            a, b, c, d = hidden[h, :count], hidden[h + 1, :count], hidden[h + 2, :count], hidden[h + 3, :count]
            ga, gb, gc, gd = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for p in range(count):
                ga += values[p] * a[p]
                gb += values[p] * b[p]
                gc += values[p] * c[p]
                gd += values[p] * d[p]
            g_w1[f, h], g_w1[f, h + 1], g_w1[f, h + 2], g_w1[f, h + 3] = ga, gb, gc, gd
        for h in range(size - size % 4, size):
            g_w1[f, h] = dot(values, hidden[h, :count])
    blend.steps[network] += 1.0
    t = blend.steps[network]
    step = (lr + (warm_lr - lr) / (1.0 + t / 1000.0)) * np.sqrt(1.0 - _BETA2**t) / (1.0 - _BETA1**t)
    _adam(blend.theta[network], blend.first[network], blend.second[network], gradient, np.float32(step))


@kernel
def _adam(theta: F32, first: F32, second: F32, gradient: F32, step: float) -> None:
    for i in range(theta.shape[0]):
        g = gradient[i]
        first[i] = np.float32(_BETA1) * first[i] + np.float32(1.0 - _BETA1) * g
        second[i] = np.float32(_BETA2) * second[i] + np.float32(1.0 - _BETA2) * g * g
        theta[i] -= step * first[i] / (np.sqrt(second[i]) + np.float32(1e-8))


@kernel
def linear_scores(blend: Blend, x: F32, offset: F32, bucket: int, out: F32) -> None:
    """Set out: float32[P] to the linear model's scores. x: float32[F, >= P]. offset: float32[P]."""
    out[:] = offset
    for f in range(x.shape[0]):
        _add_scaled(out, blend.linear[0, f] + blend.linear[1 + bucket, f], x[f, : out.shape[0]])


@kernel
def learn_linear(blend: Blend, x: F32, errors: F32, bucket: int, lr: float) -> None:
    """One step of Adagrad. x: float32[F, >= P]. errors: float32[P]."""
    for f in range(x.shape[0]):
        gradient = np.float32(dot(errors, x[f, : errors.shape[0]]))
        for row in (0, 1 + bucket):
            blend.linear_sq[row, f] += gradient * gradient
            blend.linear[row, f] -= np.float32(lr) * gradient / np.sqrt(blend.linear_sq[row, f] + np.float32(1e-6))


def new_blend(features: int, hidden: int, networks: int, rng: np.random.Generator) -> Blend:
    """An untrained blend, which ranks by its offset: the last layers are next to zero."""
    size = features * hidden + 2 * hidden + features
    theta = np.zeros((networks, size), np.float32)
    theta[:, : features * hidden] = rng.normal(0.0, np.sqrt(2.0 / features), (networks, features * hidden))
    theta[:, (features + 1) * hidden : (features + 2) * hidden] = rng.normal(0.0, 0.01, (networks, hidden))
    return Blend(
        mean=np.zeros(features),
        variance=np.zeros(features),
        pools=np.zeros(1),
        theta=theta,
        first=np.zeros_like(theta),
        second=np.zeros_like(theta),
        steps=np.zeros(networks),
        linear=np.zeros((1 + BUCKETS, features), np.float32),
        linear_sq=np.zeros((1 + BUCKETS, features), np.float32),
    )
