"""What is popular now, over all item partitions: merge their lists, decay them to one moment, rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from feature_store.trending_blob import SPANS, Trending
from schemas.horizons import HALF_LIVES, WINDOWS

_HALF_LIVES: Final = np.fromiter(HALF_LIVES.values(), np.float64)
_SPANS: Final = np.array([window.buckets * window.bucket_ms for window in WINDOWS.values()], np.int64)


@dataclass(frozen=True)
class Popularity:
    """The popular items of all partitions at one moment.

    Attributes:
        items: n item ids.
        decayed: float64[n, half-lives], decayed to `at`.
        windows: int64[n, windows]; counts in the windows that end at the newest event of the item's partition, 0 once that is
            further back than the window is long.
        at: newest event time of any partition, ms; 0: nothing is known.
    """

    items: list[str]
    decayed: NDArray[np.float64]
    windows: NDArray[np.int64]
    at: int


NOTHING: Final = Popularity([], np.zeros((0, len(HALF_LIVES))), np.zeros((0, SPANS), np.int64), 0)


def merge(parts: Sequence[Trending]) -> Popularity:
    """The lists of all partitions as one, decayed to the newest moment among them."""
    if not parts:
        return NOTHING
    at = max(part.at for part in parts)
    decayed = [part.decayed * np.exp2(-(at - part.at) / _HALF_LIVES) for part in parts]
    windows = [part.windows * (at - part.at < _SPANS) for part in parts]
    items = [item for part in parts for item in part.items]
    return Popularity(items, np.concatenate(decayed), np.concatenate(windows).astype(np.int64), at)


def mixed(popularity: Popularity) -> NDArray[np.float64]:
    """Popularity over all time scales: the mean over half-lives of the decayed count relative to the largest, float64[n] in [0, 1].

    Being first for the last hour counts as much as being first for the last two months.
    """
    largest = popularity.decayed.max(axis=0, initial=0.0)
    shares = popularity.decayed / np.where(largest > 0, largest, 1.0)
    return np.asarray(shares.mean(axis=1), np.float64)


def by_half_life(popularity: Popularity, name: str) -> NDArray[np.float64]:
    """Decayed counts of one half-life of `schemas.horizons`: float64[n].

    Raises:
        ValueError: no such half-life.
    """
    return popularity.decayed[:, list(HALF_LIVES).index(name)]


def by_window(popularity: Popularity, name: str) -> NDArray[np.float64]:
    """Event counts of one window of `schemas.horizons`: float64[n].

    Raises:
        ValueError: no such window.
    """
    return popularity.windows[:, list(WINDOWS).index(name)].astype(np.float64)


def leaders(popularity: Popularity, scores: NDArray[np.float64], limit: int) -> dict[str, float]:
    """The best items with a score above 0, best first; equals in the order of their ids.

    Args:
        scores: float64[n], one per item of `popularity`.
    """
    order = np.lexsort((np.array(popularity.items, object), -scores)) if len(scores) else np.zeros(0, np.int64)
    return {popularity.items[row]: float(scores[row]) for row in order[:limit].tolist() if scores[row] > 0}
