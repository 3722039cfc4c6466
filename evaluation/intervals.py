"""Confidence intervals of means by bootstrap, where the values are not independent.

Neighbouring events of a stream resemble each other (one sitting, one new film), and so do all events of one user. To resample them
one by one would treat them as independent and give intervals that are too narrow; so whole blocks are resampled: stretches of time,
or users.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

RESAMPLES: Final = 1000
LEVEL: Final = 0.95
_AT_ONCE: Final = 500_000  # drawn blocks in memory


class Interval(NamedTuple):
    """Means of M columns with their bounds, float64[M] each."""

    mean: F64
    low: F64
    high: F64


def time_blocked(
    values: ArrayLike,
    rng: np.random.Generator,
    block: int | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of the means of N values in time order, by the circular moving-block bootstrap.

    A resample joins ceil(N / block) stretches of `block` neighbours that begin anywhere (the end is followed by the beginning, so
    every value is drawn equally often) and is cut to N (Kunsch, Annals of Statistics 1989; Politis and Romano 1992). All columns
    use the same stretches: a difference of columns keeps what they have in common.

    Args:
        values: [N] or [N, M], one column per model, oldest first.
        block: neighbours kept together; without it ceil(sqrt(N)), longer than a sitting of one user in most streams.
        resamples: more give steadier bounds. level: of confidence, in (0, 1).

    Raises:
        ValueError: no values, NaN, a block that is not in 1..N, or a level outside (0, 1).

    >>> interval = time_blocked(np.arange(100) % 2, np.random.default_rng(1))
    >>> interval.mean, interval.low, interval.high
    (array([0.5]), array([0.5]), array([0.5]))
    """
    columns = _as_columns(values)
    size = math.ceil(math.sqrt(len(columns))) if block is None else block
    if not 1 <= size <= len(columns):
        raise ValueError(f"block={size}: expected 1 to {len(columns)}, the number of values")
    _check(resamples, level)
    means = np.concatenate(list(_circular_means(columns, rng, size, resamples)))
    return _percentiles(columns.mean(axis=0), means, level)


def _circular_means(columns: F64, rng: np.random.Generator, block: int, resamples: int) -> Iterator[F64]:
    """Means of resamples, float64[some, M] at a time."""
    count = len(columns)
    whole, rest = divmod(count, block)
    full, last = _stretch_sums(columns, block), _stretch_sums(columns, rest)
    for some in _portions(resamples, whole + 1):
        starts = rng.integers(count, size=(some, whole + 1))
        yield (full[starts[:, :whole]].sum(axis=1) + last[starts[:, whole]]) / count


def _stretch_sums(columns: F64, length: int) -> F64:
    """Sum of the `length` values from each place on, going on at the beginning: float64[N, M]."""
    around = np.concatenate((columns, columns[:length]))
    sums = np.concatenate((np.zeros((1, columns.shape[1])), np.cumsum(around, axis=0)))
    difference: F64 = sums[length : length + len(columns)] - sums[: len(columns)]
    return difference


def user_blocked(
    values: ArrayLike,
    users: ArrayLike,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of the means of N values, by resampling whole users (cluster bootstrap).

    A resample draws as many users as there are, with replacement; its mean is sum of values / number of values of those users
    (Field and Welsh, JRSS B 2007). It answers: how would another crowd of users have judged?

    Args:
        values: [N] or [N, M]. users: [N], any labels.

    Raises:
        ValueError: as `time_blocked`, or another number of users than values.
    """
    columns = _as_columns(values)
    _check(resamples, level)
    labels, of = np.unique(np.asarray(users), return_inverse=True)
    if len(of) != len(columns):
        raise ValueError(f"{len(of)} users for {len(columns)} values; expected one for each")
    sizes = np.bincount(of).astype(np.float64)
    sums = np.stack([np.bincount(of, column) for column in columns.T], axis=1)
    means = []
    for some in _portions(resamples, len(labels)):
        drawn = rng.integers(len(labels), size=(some, len(labels)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)[:, None])
    return _percentiles(columns.mean(axis=0), np.concatenate(means), level)


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    rng: np.random.Generator,
    users: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Interval of mean(first - second), both judged on the same questions; blocked by user if `users` are given, else by time.

    Args:
        first, second: [N] or [N, M] of one shape.

    Raises:
        ValueError: different shapes, or as `time_blocked` and `user_blocked`.

    >>> better = paired_difference([1, 1, 1, 0] * 50, [1, 0, 1, 0] * 50, np.random.default_rng(1))
    >>> bool(better.low[0] > 0)
    True
    """
    a, b = _as_columns(first), _as_columns(second)
    if a.shape != b.shape:
        raise ValueError(f"the two models were judged on different questions: {a.shape} and {b.shape}")
    if users is None:
        return time_blocked(a - b, rng, None, resamples, level)
    return user_blocked(a - b, users, rng, resamples, level)


def _as_columns(values: ArrayLike) -> F64:
    array = np.asarray(values, np.float64)
    columns = array[:, None] if array.ndim == 1 else array
    if columns.ndim != 2 or not len(columns):
        raise ValueError(f"values: expected [N] or [N, M] with N >= 1, got the shape {array.shape}")
    if not np.isfinite(columns).all():
        row, column = np.argwhere(~np.isfinite(columns))[0]
        raise ValueError(f"values[{row}, {column}]={columns[row, column]}: expected a finite number")
    return columns


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: expected at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a number between 0 and 1")


def _portions(resamples: int, blocks: int) -> Iterator[int]:
    """The resamples in portions whose drawn blocks fit into memory."""
    portion = max(1, _AT_ONCE // max(blocks, 1))
    for begun in range(0, resamples, portion):
        yield min(portion, resamples - begun)


def _percentiles(mean: F64, resampled: F64, level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(mean, low, high)
