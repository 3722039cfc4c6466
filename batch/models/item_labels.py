"""What the catalogue says of each item as a row of numbers that a linear layer can take: categories and tags, and the year."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Final

import numpy as np

from batch.datasets.interactions import F32, Catalogue

_YEARS_A_BUCKET: Final = 5
_OLDEST: Final = 1900
_BUCKETS: Final = 30


def item_labels(catalogue: Catalogue, most: int = 128) -> F32:
    """float32[P, F]: 1 / n for each of an item's n labels that are among the `most` frequent ones, then 1 for its five years.

    Items of which nothing is known have zeros. A label of one item alone is left out: it says no more than the item does.

    >>> years = np.array([1999, np.nan], np.float32)
    >>> rows = item_labels(Catalogue(("a", "b"), ("", ""), (("x", "y"), ("x", "y")), ((), ("z",)), years, np.zeros(2, np.int64)))
    >>> rows[:, :2].tolist(), rows[:, 2:].sum(axis=1).tolist()
    ([[0.5, 0.5], [0.5, 0.5]], [1.0, 0.0])
    """
    labels, kept = _labels(catalogue), _frequent(catalogue, most)
    column = {label: at for at, label in enumerate(kept)}
    rows = np.zeros((catalogue.size, len(kept) + _BUCKETS), np.float32)
    for row, own in zip(rows, labels, strict=True):
        found = [column[label] for label in dict.fromkeys(own) if label in column]
        row[found] = 1 / max(len(found), 1)
    dated = np.flatnonzero(~np.isnan(catalogue.years))
    buckets = np.clip((catalogue.years[dated] - _OLDEST) // _YEARS_A_BUCKET, 0, _BUCKETS - 1).astype(np.int64)
    rows[dated, len(kept) + buckets] = 1
    return rows


def label_names(catalogue: Catalogue, most: int = 128) -> tuple[str, ...]:
    """What the columns of `item_labels` stand for; a label and a year are never of the same name."""
    years = (f"year {_OLDEST + _YEARS_A_BUCKET * bucket}" for bucket in range(_BUCKETS))
    return (*(f"label {label}" for label in _frequent(catalogue, most)), *years)


def _labels(catalogue: Catalogue) -> list[tuple[str, ...]]:
    return [(*categories, *tags) for categories, tags in zip(catalogue.categories, catalogue.tags, strict=True)]


def _frequent(catalogue: Catalogue, most: int) -> list[str]:
    """The most frequent labels, the most frequent first, those of two items or more."""
    counts = Counter(chain.from_iterable(map(set, _labels(catalogue))))
    return [label for label, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:most] if count > 1]
