"""Checking what metrics are given: item codes, cut-offs, counts. Wrong input is a ValueError that names the place and the value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Sets = Sequence[ArrayLike] | NDArray[np.integer]
"""One set of item codes per list: a sequence of U sequences, or integers [U, R] padded with -1."""

NOTHING = -1


def as_lists(name: str, lists: ArrayLike, k: int | None = None) -> I64:
    """Ranked lists cut to k: int64[U, min(k, L)], -1 where a list has ended.

    Raises:
        ValueError: not two-dimensional, not item codes, an item twice in one list, a gap in a list, or k < 1.

    >>> as_lists("lists", [[4, 2, 7], [5, -1, -1]], k=2)
    array([[ 4,  2],
           [ 5, -1]])
    """
    codes = _as_codes(name, lists)
    if codes.ndim != 2:
        raise ValueError(f"{name}: expected item codes [lists, places], got the shape {codes.shape}")
    ended = codes < 0
    if np.any(ended[:, :-1] & ~ended[:, 1:]):
        row = int(np.argmax(np.any(ended[:, :-1] & ~ended[:, 1:], axis=1)))
        raise ValueError(f"{name}[{row}]: an item stands after -1; -1 may only fill up the end of a list")
    _refuse_repeats(name, codes)
    return codes if k is None else codes[:, : checked_k(k)]


def _as_codes(name: str, values: ArrayLike) -> I64:
    array = np.asarray(values)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind == "f" and np.isnan(array).any():
        place = ", ".join(map(str, np.argwhere(np.isnan(array))[0]))
        raise ValueError(f"{name}[{place}] is NaN; expected item codes")
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected item codes (integers), got {array.dtype}")
    if array.min() < NOTHING:
        raise ValueError(f"{name}: {array.min()} is no item code; expected 0 and above, or -1 for no item")
    return array.astype(np.int64)


def _refuse_repeats(name: str, codes: I64) -> None:
    ordered = np.sort(codes, axis=1)
    again = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if again.any():
        row, place = np.argwhere(again)[0]
        raise ValueError(f"{name}[{row}]: item {ordered[row, place]} stands in the list twice")


def checked_k(k: int) -> int:
    """The cut-off itself.

    Raises:
        ValueError: below 1.
    """
    if k < 1:
        raise ValueError(f"k={k}: expected at least 1")
    return k


def set_sizes(name: str, sets: Sets, lists: int) -> I64:
    """Number of different items in each of the sets: int64[lists]. Raises: as `members`."""
    rows, _ = _flat(name, sets, lists)
    return np.bincount(rows, minlength=lists).astype(np.int64)


def members(name: str, codes: I64, sets: Sets) -> NDArray[np.bool_]:
    """Whether each place of each list holds an item of that list's set: bool[U, L] for codes [U, L].

    Raises:
        ValueError: another number of sets than lists, or not item codes.

    >>> members("relevant", np.array([[4, 2], [5, -1]]), [[2, 2, 9], []])
    array([[False,  True],
           [False, False]])
    """
    rows, items = _flat(name, sets, len(codes))
    width = max(codes.max(initial=0), items.max(initial=0)) + 1
    keys = np.arange(len(codes))[:, None] * width + codes
    return np.isin(keys, rows * width + items) & (codes >= 0)


def _flat(name: str, sets: Sets, lists: int) -> tuple[I64, I64]:
    """(row, item) of all members, each once."""
    if len(sets) != lists:
        raise ValueError(f"{name}: {len(sets)} sets for {lists} lists; expected one for each")
    codes = [np.unique(_as_codes(f"{name}[{row}]", one)) for row, one in enumerate(sets)]
    rows = np.repeat(np.arange(lists), [len(one) for one in codes])
    items = np.concatenate([*codes, np.empty(0, np.int64)])
    return rows[items >= 0], items[items >= 0]


def as_amounts(name: str, values: ArrayLike, dimensions: int = 1) -> F64:
    """Counts or weights, float64.

    Raises:
        ValueError: another number of dimensions, negative, infinite or NaN.
    """
    amounts = np.asarray(values, np.float64)
    if amounts.ndim != dimensions:
        raise ValueError(f"{name}: expected {dimensions} dimension(s), got the shape {amounts.shape}")
    wrong = ~np.isfinite(amounts) | (amounts < 0)
    if wrong.any():
        place = np.argwhere(wrong)[0]
        raise ValueError(f"{name}[{', '.join(map(str, place))}]={amounts[tuple(place)]}: expected a finite number, not below 0")
    return amounts


def within_catalogue(name: str, codes: I64, items: int) -> I64:
    """The codes themselves.

    Raises:
        ValueError: a code that is not below the number of items.
    """
    if codes.max(initial=NOTHING) >= items:
        raise ValueError(f"{name}: item {codes.max()} is not among the {items} items that are described")
    return codes


def mean_over_places(values: F64, codes: I64) -> F64:
    """Mean over the places that hold an item: float64[U] for values [U, L]; 0 for an empty list."""
    here = codes >= 0
    return ratio(np.where(here, values, 0.0).sum(axis=1), here.sum(axis=1))


def mean_of_best(lists: ArrayLike, values: F64, k: int) -> F64:
    """Mean over the best k items of each list of one value per item: float64[U]; 0 for an empty list.

    Args:
        lists: item codes [U, L], best first, -1 at the end. values: float64[items].

    Raises:
        ValueError: wrong lists or k, an item outside `values`.

    >>> mean_of_best([[0, 1], [2, -1]], np.array([10.0, 4.0, 2.0]), k=2)
    array([7., 2.])
    """
    codes = within_catalogue("lists", as_lists("lists", lists, k), len(values))
    return mean_over_places(values[codes], codes) if values.size else np.zeros(len(codes))


def ratio(part: ArrayLike, whole: ArrayLike) -> F64:
    """part / whole, float64 of their common shape; 0 where the whole is not above 0.

    >>> ratio([1, 2], [4, 0])
    array([0.25, 0.  ])
    """
    parts, wholes = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    quotients: F64 = np.divide(parts, wholes, out=np.zeros(parts.shape), where=wholes > 0)
    return quotients
