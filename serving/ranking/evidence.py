"""Why items are candidates: each piece of evidence (a past item, a liked category) adds its part to the items it speaks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Evidence(NamedTuple):
    """What one thing known about a person says.

    Attributes:
        name: item id or category.
        parts: item id to what this evidence adds to its score, >= 0.
    """

    name: str
    parts: Mapping[str, float]


def total(evidence: Sequence[Evidence]) -> dict[str, float]:
    """Score of every item that is mentioned: the sum of its parts.

    >>> total([Evidence("a", {"x": 1.0, "y": 0.5}), Evidence("b", {"x": 2.0})])
    {'x': 3.0, 'y': 0.5}
    """
    scores: dict[str, float] = {}
    known = scores.get
    for piece in evidence:
        for item, part in piece.parts.items():
            scores[item] = known(item, 0.0) + part
    return scores


def strongest(evidence: Sequence[Evidence], item: str) -> str | None:
    """Name of the evidence that adds most to the item; the earlier one of equals; None if none mentions it.

    >>> strongest([Evidence("a", {"x": 1.0}), Evidence("b", {"x": 2.0})], "x")
    'b'
    """
    best, name = 0.0, None
    for piece in evidence:
        part = piece.parts.get(item, 0.0)
        if part > best:
            best, name = part, piece.name
    return name


def ranked(scores: Mapping[str, float], limit: int) -> list[str]:
    """The best items, best first; equals in the order in which they were first mentioned, which is the same in every process.

    >>> ranked({"b": 1.0, "a": 1.0, "c": 2.0}, 2)
    ['c', 'b']
    """
    return sorted(scores, key=scores.__getitem__, reverse=True)[:limit]
