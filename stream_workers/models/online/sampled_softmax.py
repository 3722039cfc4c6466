"""Sampled softmax over the item taken and a few negatives, as the two models that learn by it share it."""

from __future__ import annotations

import numpy as np

from stream_workers.models.online.numeric import F32, I32, dot, kernel


@kernel
def sampled_errors(query: F32, rows: F32, bias: F32, item: int, offset: float, negatives: I32, errors: F32) -> None:
    """Gradients of the cross-entropy with respect to the logits query . row + bias: softmax - one-hot.

    Args:
        query: float32[k]. rows: float32[I, k]. bias: float32[I]. item: taken.
        offset: added to its logit (logq * log prior); negatives have -log of their number instead, because together they are
            drawn like the prior (Bengio & Senecal, 2008; Yi et al., 2019).
        negatives: int32[S], S > 0. errors: float32[> S], filled: those of the negatives, then the item's.
    """
    count = negatives.shape[0]
    shift = np.float32(np.log(float(count)))
    errors[count] = dot(query, rows[item]) + bias[item] + np.float32(offset)
    largest = errors[count]
    for s in range(count):
        errors[s] = dot(query, rows[negatives[s]]) + bias[negatives[s]] - shift
        largest = max(largest, errors[s])
    total = np.float32(0.0)
    for s in range(count + 1):
        errors[s] = np.exp(errors[s] - largest)
        total += errors[s]
    for s in range(count + 1):
        errors[s] /= total
    errors[count] -= np.float32(1.0)
