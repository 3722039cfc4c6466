"""What is popular in the categories a person likes.

    score(j) = sum over the person's strongest categories c: w_c / (sum of w) * pop_c(j) / max pop_c

w_c: decayed weight of the category in what the person took; pop_c: mixed popularity among the items of the category.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from serving.ranking.evidence import Evidence, ranked

CATEGORIES: Final = 5


def strongest_categories(affinities: Mapping[str, float], limit: int = CATEGORIES) -> dict[str, float]:
    """The categories with the largest weights, as shares that sum to one.

    >>> strongest_categories({"Drama": 3.0, "War": 1.0, "Film-Noir": 0.0})
    {'Drama': 0.75, 'War': 0.25}
    """
    positive = {name: weight for name, weight in affinities.items() if weight > 0}
    chosen = ranked(positive, limit)
    whole = sum(positive[name] for name in chosen)
    return {name: positive[name] / whole for name in chosen}


def affinity(shares: Mapping[str, float], leaders: Mapping[str, Mapping[str, float]]) -> list[Evidence]:
    """What each liked category says.

    Args:
        shares: category to its share of the person's taste.
        leaders: category to its popular items and their popularity relative to the category's first, (0, 1].
    """
    return [
        Evidence(name, {item: share * popularity for item, popularity in leaders[name].items()})
        for name, share in shares.items()
        if name in leaders
    ]
