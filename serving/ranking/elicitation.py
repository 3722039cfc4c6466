"""Which items to ask a newcomer about: known to many, and with answers that tell much, together about all tastes.

    value(i) = log2(2 + n_i) * H(p_i)         n_i: how often i was taken
    p_i = sum over j: w_j * max(0, cos(i, j)),  w_j = (1 + n_j) / sum of (1 + n)
    H(p) = -p log2 p - (1 - p) log2(1 - p)
    next = argmax over the items that are left: value(i) / (1 + sum over the chosen j: max(0, cos(i, j)))

The value is log popularity times entropy (Rashid et al., Getting to know you, 2002; Rashid, Karypis and Riedl, Learning
preferences of new users in recommender systems, 2008): who does not know an item cannot answer, and what everybody or nobody would
like tells nothing. They take the entropy of ratings; most people give none, so here it is that of the expected answer: p_i is the
share of all that is taken that is like i. The divisor is that of D'Hondt for seats in a parliament, with likeness in the place of
membership: every taste gets questions in proportion to its value, the first of each before the second of most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def likeness(*kinds: F64) -> F64:
    """How alike items are, float64[N, N] in [0, 1], 1 to themselves: the mean cosine over kinds of vectors, negative ones as 0.

    Args:
        kinds: float64[N, T] each, of length 1 (or 0: nothing of that kind is known; then the others say it alone).

    >>> likeness(np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])).round(2).tolist()
    [[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    joined = np.hstack(kinds)
    vectors = joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), 1e-12)
    alike = np.clip(vectors @ vectors.T, 0.0, 1.0)
    np.fill_diagonal(alike, 1.0)
    return np.asarray(alike, np.float64)


def expected(alike: F64, counts: F64) -> F64:
    """p_i, the share of what is taken that is like each item, float64[N] in (0, 1].

    >>> expected(np.eye(2), np.array([2.0, 0.0])).tolist()
    [0.75, 0.25]
    """
    weights = (1.0 + counts) / (1.0 + counts).sum()
    return np.asarray(np.minimum(alike @ weights, 1.0), np.float64)


def entropy(p: F64) -> F64:
    """H(p) in bits, float64[N]; 0 where the answer is certain.

    >>> entropy(np.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    inner = np.clip(p, 1e-12, 1 - 1e-12)
    bits = -inner * np.log2(inner) - (1 - inner) * np.log2(1 - inner)
    return np.where((p <= 0) | (p >= 1), 0.0, bits)


def values(counts: F64, p: F64) -> F64:
    """Log popularity times entropy, float64[N].

    >>> values(np.array([2.0, 2.0]), np.array([0.5, 1.0])).tolist()
    [2.0, 0.0]
    """
    return np.asarray(np.log2(2.0 + counts) * entropy(p), np.float64)


def questions(worth: F64, alike: F64, k: int) -> I64:
    """int64[min(k, N)], the items to ask about, in this order; of equals the one that stands first.

    Args:
        worth: float64[N], of each alone. alike: float64[N, N], as of `likeness`.

    >>> alike = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> questions(np.array([3.0, 2.9, 2.0]), alike, 3).tolist()
    [0, 2, 1]
    """
    count = min(k, len(worth))
    chosen, crowd, left = np.zeros(count, np.int64), np.ones(len(worth)), np.zeros(len(worth))
    for place in range(count):
        chosen[place] = item = int(np.argmax(worth / crowd + left))
        left[item] = -np.inf
        crowd = crowd + alike[item]
    return chosen
