"""Items that were not taken, to learn against: drawn uniformly, by popularity, or shown and not clicked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import F32, I64
from batch.datasets.sequences import NOTHING
from schemas.errors import InvalidInput


class Drawn(NamedTuple):
    """K items drawn with replacement.

    Attributes:
        items: int64[K].
        log_counts: float32[K], logarithm of how often the item is expected among the K: log(K q). Subtracted from the item's
            logit it makes a softmax over the sample an estimate of the one over all items (Bengio and Senecal, "Adaptive
            importance sampling", 2008; the `logQ` of Yi et al., RecSys 2019).
    """

    items: I64
    log_counts: F32


class Sampler:
    """Draws item p with the probability q_p, proportional to counts_p ** power.

    `power` 0 is uniform over the items with a count, 1 their popularity, 0.75 word2vec's choice (Mikolov et al., 2013). Items
    that were never taken are never drawn: a model that ranks them by content should not learn that nobody wants them.

    Raises:
        InvalidInput: no item has a positive count.
    """

    def __init__(self, counts: NDArray[np.integer], power: float) -> None:
        taken = np.flatnonzero(np.asarray(counts) > 0)
        if not len(taken):
            raise InvalidInput(f"none of {len(counts)} items was ever taken; there is nothing to draw from")
        weights = np.asarray(counts, np.float64)[taken] ** power
        self._items, self._share = taken, weights / weights.sum()
        self._upper = np.cumsum(self._share)
        self._upper[-1] = 1.0

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """`count` items and the logarithms of their expected counts."""
        at = np.searchsorted(self._upper, rng.random(count), side="right")
        return Drawn(self._items[at].astype(np.int64), np.log(count * self._share[at]).astype(np.float32))


def uniform(items: int) -> Sampler:
    """Draws every item of the catalogue equally often."""
    return Sampler(np.ones(items, np.int64), 0.0)


def non_clicks(shown: I64, clicked: NDArray[np.bool_], count: int, rng: np.random.Generator) -> tuple[I64, I64]:
    """For each click, `count` items of the same list that were not clicked, drawn with replacement.

    What was seen and passed over says more than an item that was never shown.

    Args:
        shown: int64[S, K], the lists, -1 behind their end. clicked: bool[S, K].

    Returns:
        int64[C] clicked items, list by list, and int64[C, count]; lists in which everything was clicked are left out.

    Raises:
        InvalidInput: shapes that differ, or a click behind the end of a list.
    """
    if shown.shape != clicked.shape or shown.ndim != 2:
        raise InvalidInput(f"shown {shown.shape} and clicked {clicked.shape}: expected the same [lists, places]")
    if np.any(clicked & (shown == NOTHING)):
        raise InvalidInput(f"list {int(np.argmax((clicked & (shown == NOTHING)).any(axis=1)))}: a click where nothing was shown")
    passed = (shown != NOTHING) & ~clicked
    row, place = np.nonzero(clicked & passed.any(axis=1)[:, None])
    left_first = np.argsort(~passed, axis=1, kind="stable")  # the places of the passed-over items come first
    choice = (rng.random((len(row), count)) * passed.sum(axis=1)[row, None]).astype(np.int64)
    return shown[row, place], shown[row[:, None], left_first[row[:, None], choice]]
