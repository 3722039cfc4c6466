"""Crossed features: pairs of what the user did and what the item is, hashed to the buckets of one table of weights."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.recent import NOTHING
from stream_workers.models.deep.scorer import F32, I64

NO_CROSS: Final = 0
"""The bucket of what does not exist; its weight is 0."""
CROSSED_ITEMS: Final = 3
"""How many of the newest items are crossed with the item."""
_MIXED: Final = tuple(map(np.uint64, (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)))


def hashed(kind: int, left: NDArray[np.integer[Any]] | np.int64, right: NDArray[np.integer[Any]], buckets: int) -> I64:
    """A bucket of 1 to buckets - 1 for each pair (multiply-shift, Dietzfelbinger et al., 1997); `buckets` is a power of two.

    >>> hashed(0, np.array([1, 1]), np.array([2, 3]), 1024).shape
    (2,)
    """
    lefts = np.atleast_1d(left).astype(np.uint64) * _MIXED[0] + np.atleast_1d(np.uint64(kind)) * _MIXED[2]
    mixed = lefts + right.astype(np.uint64) * _MIXED[1]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MIXED[1]
    shift = np.uint64(65 - buckets.bit_length())
    return np.asarray(np.maximum((mixed >> shift).astype(np.int64), 1), np.int64)


def favourites(items: I64, amounts: F32, categories: NDArray[np.integer[Any]], count: int) -> I64:
    """The category with the most amount among each user's items: int64[B], 0 where no item has one.

    Args:
        items: int64[B, L], -1 where there is none. amounts: float32[B, L], 0 there. categories: [P, C] numbers from 1 to count - 1.
    """
    rows = np.repeat(np.arange(len(items)), items.shape[1] * categories.shape[1]) * count
    places = rows + categories[items].reshape(-1)
    totals = np.bincount(places, np.repeat(amounts.ravel(), categories.shape[1]), len(items) * count).reshape(len(items), count)
    totals[:, 0] = 0
    return np.asarray(totals.argmax(axis=1), np.int64)


def crossed_weight(wide: F32, newest: I64, favourite: int, items: I64, categories: NDArray[np.integer[Any]], count: int) -> F32:
    """The sum of the weights of `crossed` for one user: float32[n], in a fraction of its time.

    Args:
        wide: float32[buckets]. newest: int64[L]. items: int64[n]. categories: [places, P], as columns. count: how many there are.
    """
    buckets = len(wide)
    total: F32 = np.zeros(len(items), np.float32)
    for near in newest[:CROSSED_ITEMS]:
        if near != NOTHING:
            total += wide[hashed(1, near, items, buckets)]
    if favourite:
        total += wide[hashed(2, np.int64(favourite), items, buckets)]
        by_kind = wide[hashed(3, np.int64(favourite), np.arange(count), buckets)]
        by_kind[0] = 0
        for column in categories:
            total += by_kind[column[items]]
    return total


def crossed(newest: I64, favourite: I64, items: I64, categories: NDArray[np.integer[Any]], buckets: int) -> I64:
    """The buckets of each user with each item: int64[B, C, K].

    newest item x item, each of the user's newest three; favourite category x item; favourite category x each category of the item.

    Args:
        newest: int64[B, L], newest first, -1 for none. favourite: int64[B]. items: int64[B, C]. categories: [P, n], 0 for none.
    """
    near = newest[:, None, :CROSSED_ITEMS]
    by_item = np.where(near == NOTHING, NO_CROSS, hashed(1, near, items[..., None], buckets))
    liked = np.broadcast_to(favourite[:, None, None], (*items.shape, 1))
    by_taste = np.where(liked == 0, NO_CROSS, hashed(2, liked, items[..., None], buckets))
    kinds = categories[items]
    by_kind = np.where((liked == 0) | (kinds == 0), NO_CROSS, hashed(3, liked, kinds, buckets))
    return np.concatenate([by_item, by_taste, by_kind], axis=-1)
