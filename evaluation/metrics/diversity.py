"""How different the items of one list are from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evaluation.metrics.arrays import F64, as_amounts, as_lists, ratio, within_catalogue


def intra_list_diversity(lists: ArrayLike, features: ArrayLike, k: int) -> F64:
    """Mean cosine distance between two items of the best k: 2 / (n (n-1)) * sum_{i<j} (1 - cos(f_i, f_j)).

    (Ziegler et al., WWW 2005, as distance; Zhang and Hurley, RecSys 2008.) Items without features are unlike everything.

    Args:
        lists: item codes [U, L], best first, -1 at the end.
        features: [items, F], such as one column per category.

    Returns:
        float64[U]; 0 for lists of fewer than two items.

    Raises:
        ValueError: wrong lists or k, an item without a row in `features`, NaN or infinite features.

    >>> intra_list_diversity([[0, 1, 2]], features=[[1, 0], [0, 1], [2, 0]], k=3).round(3)
    array([0.667])
    """
    units = _unit_rows(features)
    codes = within_catalogue("lists", as_lists("lists", lists, k), len(units))
    here = codes >= 0
    if not here.any():
        return np.zeros(len(codes))
    chosen = np.where(here[:, :, None], units[codes], 0.0)
    # sum_{i != j} f_i . f_j = |sum f|^2 - sum |f|^2: no matrix of pairs is needed
    likeness = np.square(chosen.sum(axis=1)).sum(axis=1) - np.square(chosen).sum(axis=(1, 2))
    pairs = here.sum(axis=1) * (here.sum(axis=1) - 1)
    return ratio(pairs - likeness, pairs)


def category_coverage(lists: ArrayLike, categories: ArrayLike, k: int) -> F64:
    """Share of the catalogue's categories that the best k show: |union of their categories| / G.

    (Subtopic recall, S-recall at k: Zhai, Cohen and Lafferty, SIGIR 2003, with the categories as subtopics.)

    Args:
        lists: item codes [U, L], best first, -1 at the end.
        categories: [items, G], above 0 where an item has a category.

    Returns:
        float64[U], in [0, 1]; 0 where there are no categories.

    Raises:
        ValueError: wrong lists, categories or k, or an item without a row in `categories`.

    >>> category_coverage([[0, 1], [1, -1]], categories=[[1, 0, 0], [1, 1, 0]], k=2).round(3)
    array([0.667, 0.667])
    """
    has = as_amounts("categories", categories, dimensions=2) > 0
    codes = within_catalogue("lists", as_lists("lists", lists, k), len(has))
    if not codes.size or not has.size:
        return np.zeros(len(codes))
    shown = ((codes >= 0)[:, :, None] & has[codes]).any(axis=1)
    return ratio(shown.sum(axis=1), has.shape[1])


def _unit_rows(features: ArrayLike) -> F64:
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2:
        raise ValueError(f"features: expected [items, features], got the shape {rows.shape}")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"features[{row}, {column}]={rows[row, column]}: expected a finite number")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return ratio(rows, lengths)
