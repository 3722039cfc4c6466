"""Wishes that give way: constraints in the order of their importance, the least important dropped first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def tiers(holds: Sequence[Sequence[bool]]) -> NDArray[np.int64]:
    """int64[N]: how many constraints, counted from the most important, each item meets before the first that it does not.

    Args:
        holds: for each constraint, most important first, whether each of N items meets it.

    >>> tiers([[True, True, False], [True, False, True]]).tolist()
    [2, 1, 0]
    """
    met = np.asarray(holds, bool)
    return np.asarray(np.logical_and.accumulate(met, axis=0).sum(axis=0))


def kept(levels: NDArray[np.int64], constraints: int, k: int) -> int:
    """How many of the constraints, from the most important, can be kept so that k items (or all, if there are fewer) are left.

    Args:
        levels: int64[N], see `tiers`.

    >>> kept(np.array([2, 1, 0]), 2, 1), kept(np.array([2, 1, 0]), 2, 2), kept(np.array([2, 1, 0]), 2, 9)
    (2, 1, 0)
    """
    wanted = min(k, len(levels))
    return next((level for level in range(constraints, 0, -1) if (levels >= level).sum() >= wanted), 0)
