"""How recommendations spread over the catalogue: coverage and the Gini index."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evaluation.metrics.arrays import I64, as_amounts, as_lists, within_catalogue


def coverage(lists: ArrayLike, items: int, k: int) -> float:
    """Share of the catalogue that is recommended to anybody: |union of the best k| / items (Ge et al., RecSys 2010).

    Args:
        lists: item codes [U, L], best first, -1 at the end.
        items: size of the catalogue; codes are below it.

    Raises:
        ValueError: wrong lists or k, or an item outside the catalogue.

    >>> coverage([[0, 1, 2], [0, 3, 1]], items=10, k=2)
    0.3
    """
    return coverage_of(exposure(lists, items, k))


def gini(lists: ArrayLike, items: int, k: int) -> float:
    """Gini index of how often each item of the catalogue is recommended: 0 all alike, near 1 always the same few.

    Raises:
        ValueError: as `coverage`.

    >>> gini([[0, 1], [2, 3]], items=4, k=2)
    0.0
    """
    return gini_of(exposure(lists, items, k))


def exposure(lists: ArrayLike, items: int, k: int) -> I64:
    """How often each item is among the best k: int64[items].

    >>> exposure([[0, 1, 2], [0, -1, -1]], items=4, k=2)
    array([2, 1, 0, 0])
    """
    codes = within_catalogue("lists", as_lists("lists", lists, k), items)
    return np.bincount(codes[codes >= 0], minlength=items).astype(np.int64)


def coverage_of(counts: ArrayLike) -> float:
    """Coverage from the number of times each item of the catalogue was recommended, [items]; 0 for an empty catalogue.

    Raises:
        ValueError: negative counts or NaN.
    """
    amounts = as_amounts("counts", counts)
    return float(np.mean(amounts > 0)) if amounts.size else 0.0


def gini_of(counts: ArrayLike) -> float:
    """Gini index of n amounts: sum_i (2 i - n - 1) x_(i) / (n sum x), x_(1) <= x_(2) <= ...; 0 if there is nothing.

    (Gini 1912; as a measure of sales diversity: Fleder and Hosanagar, Management Science 2009.)

    Raises:
        ValueError: negative counts or NaN.

    >>> gini_of([0, 0, 0, 5])
    0.75
    """
    ordered = np.sort(as_amounts("counts", counts))
    n, total = len(ordered), ordered.sum()
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total)) if total > 0 else 0.0
