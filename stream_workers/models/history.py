"""What each user did last, newest first, and the item pairs that each new event makes with it.

A history holds the N newest events by (timestamp, type, item), whatever order they arrive in: so a late event finds its place, and
a replay of the log gives the same history bit for bit. An undo takes the newest entry of its type and item that is not newer than
itself out again; it neither counts nor pairs, and the counts, which tell what happened, do not go down. Pairs feed `covisitation`:
an event at item i pairs with the last m different items a_0, a_1, ... that the user took before it, weight rho^k for a_k, times the
weight of the event's type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


@njit(cache=True)
def _take_back(item: int, kind: int, when: int, length: int, items: I32, types: NDArray[np.uint8], times: I64) -> int:
    """Remove the newest entry of this item and type that is not newer than `when` from one history; returns its new length."""
    for place in range(length):
        if items[place] == item and types[place] == kind and times[place] <= when:
            for j in range(place, length - 1):
                items[j], types[j], times[j] = items[j + 1], types[j + 1], times[j + 1]
            return length - 1
    return length


@njit(cache=True)
def _place_of(
    item: int, kind: int, when: int, length: int, item_order: NDArray[np.uint64], items: I32, types: NDArray[np.uint8], times: I64
) -> int:
    """Where an entry belongs in one history: newest first; of one moment the higher type, then the higher order, first."""
    for place in range(length):
        if times[place] < when:
            return place
        if times[place] == when and (
            types[place] < kind or (types[place] == kind and item_order[items[place]] <= item_order[item])
        ):
            return place
    return length


@njit(cache=True)
def _insert(place: int, item: int, kind: int, when: int, length: int, items: I32, types: NDArray[np.uint8], times: I64) -> None:
    """Put an entry at a place of one history; of a full one the oldest entry goes."""
    for j in range(min(length, len(items) - 1), place, -1):
        items[j], types[j], times[j] = items[j - 1], types[j - 1], times[j - 1]
    items[place], types[place], times[place] = item, kind, when


@njit(cache=True)
def update_histories(
    users: I64, items: I64, types: I64, timestamps: I64, undo: NDArray[np.bool_], type_weights: F64,
    item_order: NDArray[np.uint64], depth: int, rho: float, history_items: I32, history_types: NDArray[np.uint8],
    history_times: I64, lengths: I32, counts: NDArray[np.uint32], newest: I64,
) -> tuple[I64, I64, F64]:  # fmt: skip
    """Insert E events in order into the histories, count them, and return the pairs they make.

    Args:
        users: int64[E], row of the user. items: int64[E], index of the item. types: int64[E]. timestamps: int64[E], ms.
        undo: bool[E], the event takes back an earlier one.
        type_weights: float64[types]; types of weight 0 make and enter no pairs.
        item_order: uint64[items], breaks ties between events of one moment and type; must not depend on arrival order.
        depth: m, pairs per event. rho: weight ratio of successive history items.
        history_items .. newest: the columns of `feature_store.user_blob.UserColumns`, changed in place.

    Returns:
        For P pairs: index of the event int64[P], history item int64[P], weight float64[P].
    """
    size = history_items.shape[1]
    pair_events = np.empty(len(users) * depth, np.int64)
    pair_items = np.empty(len(users) * depth, np.int64)
    pair_weights = np.empty(len(users) * depth, np.float64)
    pairs = 0
    for e in range(len(users)):
        user, item, kind, when = users[e], items[e], types[e], timestamps[e]
        if undo[e]:
            length = lengths[user]
            lengths[user] = _take_back(item, kind, when, length, history_items[user], history_types[user], history_times[user])
            continue
        counts[user, kind] += 1
        newest[user] = max(newest[user], when)
        length = lengths[user]
        place = _place_of(
            item, kind, when, length, item_order, history_items[user], history_types[user], history_times[user]
        )  # fmt: skip
        weight, taken, at = type_weights[kind], 0, place
        while weight > 0 and taken < depth and at < length:
            before = history_items[user, at]
            if before != item and type_weights[history_types[user, at]] > 0:
                fresh = True
                for p in range(pairs - taken, pairs):
                    fresh = fresh and pair_items[p] != before
                if fresh:
                    pair_events[pairs], pair_items[pairs], pair_weights[pairs] = e, before, weight
                    weight *= rho
                    pairs += 1
                    taken += 1
            at += 1
        if place < size:
            _insert(place, item, kind, when, length, history_items[user], history_types[user], history_times[user])
            lengths[user] = min(length + 1, size)
    return pair_events[:pairs], pair_items[:pairs], pair_weights[:pairs]


def as_type_weights(weights: Any) -> F64:
    """Weights by event type as the array that the kernels take."""
    return np.array(weights, np.float64)
