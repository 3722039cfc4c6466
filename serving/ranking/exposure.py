"""Who is seen: shares of exposure for groups of items (providers, categories), and caps on categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.ranking.content_vectors import indicators

F64 = NDArray[np.float64]


class Exposure:
    """The term of group fairness: in this one list, each group's share of exposure should be its target.

    Exposure is what a place is worth, v_j = 1 / log2(1 + j) for place j from 1 (Singh and Joachims, KDD 2018). A group's due after
    place j is t_g * (v_1 + ... + v_j); what it lacks of that, in units of the place, is the gain of its items (greedy towards the
    targets of every prefix, as Geyik, Ambler and Kenthapadi, KDD 2019, with exposure in place of counts):

        gain_i = (t_g * (E + v_j) - e_g) / v_j,   g the group of i, E all exposure given so far, e_g that of g

    An item of no group gains 0. The definition is of one list: nothing is owed from one request to the next.

    Args:
        groups: int64[N], -1: none.
        targets: float64[G], sums to 1.
        weight: 0: relevance alone; 1: the targets alone.
    """

    def __init__(self, groups: NDArray[np.int64], targets: F64, weight: float) -> None:
        self.weight = weight
        self._groups = groups
        self._targets = targets
        self._given = np.zeros(len(targets))
        self._whole = 0.0
        self._place = 1

    def gains(self) -> F64:
        """See `Term`."""
        worth = self._worth
        lacking = (self._targets * (self._whole + worth) - self._given) / worth
        return np.append(lacking, 0.0)[self._groups]

    def take(self, item: int) -> None:
        """See `Term`."""
        group = self._groups[item]
        if group >= 0:
            self._given[group] += self._worth
        self._whole += self._worth
        self._place += 1

    @property
    def _worth(self) -> float:
        return 1 / float(np.log2(1 + self._place))


def grouped(names: Sequence[str | None], targets: Mapping[str, float] | None = None) -> tuple[NDArray[np.int64], F64]:
    """The groups of items, int64[N], and the groups' target shares, float64[G].

    Args:
        names: each item's group; None: none.
        targets: group to its weight; groups that are not named get nothing. None: every group that is there gets the same.

    >>> grouped(["x", "y", None, "x"])
    (array([ 0,  1, -1,  0]), array([0.5, 0.5]))
    """
    there = dict.fromkeys(filter(None, names), 1.0)
    weights = there if targets is None else {**dict.fromkeys(there, 0.0), **targets}
    columns = {name: at for at, name in enumerate(weights)}
    groups = np.array([columns[name] if name else -1 for name in names], np.int64)
    whole = sum(weights.values())
    return groups, np.array(list(weights.values()), np.float64) / (whole or 1.0)


class Caps:
    """Bars the items of a category that has its number of places. An item counts for every category it has.

    Args:
        categories: of each item of the pool. most: category to how many items of it are welcome; others: of each that is not named;
            None: any number.
    """

    def __init__(self, categories: Sequence[Sequence[str]], most: Mapping[str, int], others: int | None = None) -> None:
        names = {name: at for at, name in enumerate(dict.fromkeys(name for own in categories for name in own))}
        self._has = indicators(categories, names) > 0
        limits = [most.get(name, others) for name in names]
        self._left = np.array([np.inf if limit is None else limit for limit in limits])

    def barred(self) -> NDArray[np.bool_]:
        """See `Bar`."""
        return np.asarray(self._has[:, self._left <= 0].any(axis=1))

    def take(self, item: int) -> None:
        """See `Bar`."""
        self._left -= self._has[item]
