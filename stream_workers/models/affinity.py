"""How much each user leans to each category, decayed by event time.

w_c(t) = sum over events e of items in c: weight(type_e) * 2^(-(t - t_e) / H). The A strongest categories of a user are kept; the
sum is carried at the time of the user's newest event and decayed forward when a newer one comes, so nothing is ever rescanned.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def update_affinities(
    users: NDArray[np.int64],
    types: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    category_starts: NDArray[np.int64],
    event_categories: NDArray[np.int64],
    type_weights: NDArray[np.float64],
    half_life_ms: float,
    categories: NDArray[np.int32],
    weights: NDArray[np.float32],
    decayed_to: NDArray[np.int64],
) -> None:
    """Add E events in order.

    Args:
        users, types, timestamps: int64[E]; row of the user, type code, ms.
        category_starts: int64[E + 1]; event e has the categories event_categories[starts[e]:starts[e + 1]].
        categories: int32[users, A], -1 where free, free places last. weights: float32[users, A]. Both changed in place.
        decayed_to: int64[users], ms; the moment of the weights, moved forward in place.
    """
    places = categories.shape[1]
    for e in range(len(users)):
        user, when = users[e], timestamps[e]
        if when > decayed_to[user]:
            if decayed_to[user] > 0:
                weights[user] *= np.float32(2.0 ** (-(when - decayed_to[user]) / half_life_ms))
            decayed_to[user] = when
        gain = type_weights[types[e]] * 2.0 ** (-(decayed_to[user] - when) / half_life_ms)
        if gain <= 0:
            continue
        for c in range(category_starts[e], category_starts[e + 1]):
            category, weakest, place = event_categories[c], 0, -1
            for p in range(places):
                if categories[user, p] == category or categories[user, p] < 0:
                    place = p
                    break
                if weights[user, p] < weights[user, weakest]:
                    weakest = p
            if place < 0 and weights[user, weakest] < gain:
                place = weakest
                categories[user, place] = -1
            if place < 0:
                continue
            if categories[user, place] < 0:
                categories[user, place], weights[user, place] = category, 0.0
            weights[user, place] += np.float32(gain)
