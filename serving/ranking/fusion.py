"""One list from several: weighted reciprocal-rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009).

    score(j) = sum over sources s: weight_s / (constant + rank_s(j)),  rank 1 for the first

Ranks and not scores, because the scores of different sources have no common scale. This blend is fixed; a learned one replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from serving.ranking.evidence import ranked

NAME: Final = "fixed-rrf-1"
CONSTANT: Final = 60.0
WEIGHTS: Final[dict[str, float]] = {"covisitation": 1.0, "affinity": 0.4, "content": 1.0, "trending": 0.3, "catalogue": 0.001}


def votes(items: Sequence[str], weight: float, constant: float = CONSTANT) -> dict[str, float]:
    """What one source adds to each item it proposes.

    Args:
        items: best first.

    >>> votes(["a", "b"], 6.0, constant=1.0)
    {'a': 3.0, 'b': 2.0}
    """
    return {item: weight / (constant + rank) for rank, item in enumerate(items, 1)}


def fuse(sources: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Score of every proposed item, best first; equals in the order of the sources and of their lists.

    Args:
        sources: source name to its votes.

    >>> fuse({"covisitation": {"a": 0.5, "b": 0.25}, "trending": {"b": 0.5}})
    {'b': 0.75, 'a': 0.5}
    """
    scores: dict[str, float] = {}
    known = scores.get
    for part in sources.values():
        for item, vote in part.items():
            scores[item] = known(item, 0.0) + vote
    return {item: scores[item] for item in ranked(scores, len(scores))}


def interleaved(first: Sequence[str], others: Mapping[str, float], constant: float = CONSTANT) -> list[str]:
    """Items that have votes alone between those of a list, which keep their order: the list's are worth 1 / (constant + rank).

    Args:
        first: best first, and of equals before the others. others: items that are not in the list, to their votes, best first.

    >>> interleaved(["a", "b", "c"], {"x": 1 / 61, "y": 1 / 70})
    ['a', 'x', 'b', 'c', 'y']
    """
    order: list[str] = []
    waiting = list(others.items())[::-1]
    for rank, item in enumerate(first, 1):
        while waiting and waiting[-1][1] > 1 / (constant + rank):
            order.append(waiting.pop()[0])
        order.append(item)
    return order + [item for item, _ in reversed(waiting)]


def contributions(sources: Mapping[str, Mapping[str, float]], item: str) -> dict[str, float]:
    """What each source added to the item's score, largest first; their sum is the score."""
    parts = {name: part[item] for name, part in sources.items() if item in part}
    return {name: parts[name] for name in ranked(parts, len(parts))}
