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

from stream_workers.models.online.numeric import F32, F64, kernel

BUCKETS = 4
_CLIP = np.float32(6.0)
_SMALLEST_ERROR = 1e-4  # candidates that hardly matter teach nothing; leaving them out saves most of the backward pass
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
def learn_scale(blend: Blend, x: F32, sums: F32) -> None:
    """Take the features of one pool, float32[P, F], into mean and variance. `sums`: float32[>= 2 F], scratch."""
    blend.pools[0] += 1.0
    rate = max(1.0 / blend.pools[0], 1e-3)
    features = x.shape[1]
    total, squares = sums[:features], sums[features : 2 * features]
    total[:] = np.float32(0.0)
    squares[:] = np.float32(0.0)
    for p in range(x.shape[0]):
        for f in range(features):
            total[f] += x[p, f]
            squares[f] += x[p, f] * x[p, f]
    for f in range(features):
        mean = total[f] / x.shape[0]
        spread = max(0.0, squares[f] / x.shape[0] - mean * mean)
        gap = mean - blend.mean[f]
        blend.mean[f] += rate * gap
        blend.variance[f] += rate * (spread + (1.0 - rate) * gap * gap - blend.variance[f])


@kernel
def standardise(blend: Blend, x: F32, scales: F32) -> None:
    """Bring features to mean 0 and variance 1 in place. `scales`: float32[>= 2 F], scratch."""
    features = x.shape[1]
    mean, scale = scales[:features], scales[features : 2 * features]
    for f in range(features):
        mean[f] = np.float32(blend.mean[f])
        scale[f] = np.float32(1.0 / np.sqrt(max(blend.variance[f], 0.0) + 1e-6))
    for p in range(x.shape[0]):
        row = x[p]
        for f in range(features):
            row[f] = min(max((row[f] - mean[f]) * scale[f], -_CLIP), _CLIP)


@kernel
def network_scores(blend: Blend, network: int, x: F32, offset: F32, hidden: F32, out: F32) -> None:
    """Set out: float32[P] to one network's scores; hidden: float32[P, H] keeps the activations."""
    features, size = x.shape[1], hidden.shape[1]
    theta = blend.theta[network]
    w1 = theta[: features * size].reshape(features, size)
    b1 = theta[features * size : (features + 1) * size]
    w2 = theta[(features + 1) * size : (features + 2) * size]
    skip = theta[(features + 2) * size :]
    for p in range(x.shape[0]):
        row = hidden[p]
        for h in range(size):
            row[h] = b1[h]
        total = offset[p]
        for f in range(features):
            value = x[p, f]
            total += skip[f] * value
            for h in range(size):
                row[h] += value * w1[f, h]
        for h in range(size):
            row[h] = max(row[h], np.float32(0.0))
            total += row[h] * w2[h]
        out[p] = total


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
        x: float32[P, F]. errors: float32[P], from `softmax_errors`. hidden: float32[P, H], from `network_scores`.
        gradient: float32[T], scratch. lr: step; it begins at `warm_lr` and comes down within some thousand events.
    """
    features, size = x.shape[1], hidden.shape[1]
    gradient[:] = np.float32(0.0)
    g_w1 = gradient[: features * size].reshape(features, size)
    g_b1 = gradient[features * size : (features + 1) * size]
    g_w2 = gradient[(features + 1) * size : (features + 2) * size]
    g_skip = gradient[(features + 2) * size :]
    w2 = blend.theta[network, (features + 1) * size : (features + 2) * size]
    back = np.empty(size, np.float32)
    for p in range(x.shape[0]):
        error = errors[p]
        if abs(error) < _SMALLEST_ERROR:
            continue
        for h in range(size):
            g_w2[h] += error * hidden[p, h]
            back[h] = error * w2[h] if hidden[p, h] > 0 else np.float32(0.0)
            g_b1[h] += back[h]
        for f in range(features):
            value = x[p, f]
            g_skip[f] += error * value
            for h in range(size):
                g_w1[f, h] += value * back[h]
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
    """Set out: float32[P] to the linear model's scores."""
    for p in range(x.shape[0]):
        total = offset[p]
        for f in range(x.shape[1]):
            total += x[p, f] * (blend.linear[0, f] + blend.linear[1 + bucket, f])
        out[p] = total


@kernel
def learn_linear(blend: Blend, x: F32, errors: F32, bucket: int, gradient: F32, lr: float) -> None:
    """One step of Adagrad. `gradient`: float32[>= F], scratch."""
    features = x.shape[1]
    gradient[:features] = np.float32(0.0)
    for p in range(x.shape[0]):
        for f in range(features):
            gradient[f] += errors[p] * x[p, f]
    for row in (0, 1 + bucket):
        for f in range(features):
            blend.linear_sq[row, f] += gradient[f] * gradient[f]
            blend.linear[row, f] -= np.float32(lr) * gradient[f] / np.sqrt(blend.linear_sq[row, f] + np.float32(1e-6))


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
