"""Items that others took with what this person took last.

    score(j) = sum over the last items a_k (k = 0 newest): rho^k * C[a_k, j] * (N[a_k] + 1)^-1/2

C: decayed pair weights, N: decayed count of an item, all carried to the newest moment among them, so that an item that has been
quiet for a year does not speak with the voice it had then. The damping by N keeps one very popular item from deciding everything
(Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, 2004).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from feature_store.item_blob import Neighbours
from schemas.horizons import DAY_MS, HALF_LIVES
from serving.ranking.evidence import Evidence

RHO: Final = 0.8
SEEDS: Final = 20
PAIR_HALF_LIFE_MS: Final = 30.0 * DAY_MS
_COUNT_HALF_LIFE_MS: Final = float(max(HALF_LIVES.values()))


def covisitation(
    seeds: Sequence[tuple[str, Neighbours]], rho: float = RHO, half_life_ms: float = PAIR_HALF_LIFE_MS
) -> list[Evidence]:
    """What each of the last items says.

    Args:
        seeds: the person's last different items, newest first, with their neighbours.
        rho: weight ratio of successive items, 0 to 1.
        half_life_ms: of the pair weights; as the worker's.
    """
    moment = max((near.weights_at for _, near in seeds), default=0)
    evidence = []
    for k, (item, near) in enumerate(seeds):
        faded = 2.0 ** (-(moment - near.weights_at) / half_life_ms)
        scale = rho**k * faded / math.sqrt(count_at(moment, near) + 1.0)
        evidence.append(Evidence(item, dict(zip(near.ids, (near.weights * scale).tolist(), strict=True))))
    return evidence


def count_at(moment: int, near: Neighbours) -> float:
    """Decayed count N of an item at a moment, ms."""
    return near.audience * math.exp2(-max(0, moment - near.newest) / _COUNT_HALF_LIFE_MS)


def similar(near: Neighbours, counts: Mapping[str, float], count: float) -> dict[str, float]:
    """Items like one item: C[i, j] * ((N[i] + 1) * (N[j] + 1))^-1/2, the cosine of their audiences up to the damping ones.

    Args:
        near: the item's neighbours.
        counts: decayed count of each neighbour at the same moment as `count`; missing ones count 0.
        count: the item's own.
    """
    return {
        item: weight / math.sqrt((count + 1.0) * (counts.get(item, 0.0) + 1.0))
        for item, weight in zip(near.ids, near.weights.tolist(), strict=True)
    }
