"""A few places for what nobody has taken yet: without them no model would ever see a click on it.

The sixth place of every ten, so never one of the first three, where a wrong item costs most, and at most a tenth of a list: a
known bound on what is given up for it. An item is a newcomer until its first event is learnt; then it is judged like others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

EVERY: Final = 10
PLACE: Final = 6


def with_newcomers(chosen: Sequence[tuple[str, float]], newcomers: Iterable[str], k: int) -> list[tuple[str, float]]:
    """At most k places, some of them taken by newcomers, each with the score of the place before it, so that scores still fall.

    Args:
        chosen: items with scores, best first. newcomers: best first, none of them chosen.

    >>> with_newcomers([(item, 1.0) for item in "abcdefg"], ["new"], 7)[4:]
    [('e', 1.0), ('new', 1.0), ('f', 1.0)]
    """
    places = list(chosen)
    for at, item in zip(range(PLACE - 1, k, EVERY), newcomers, strict=False):
        if at > len(places):
            break
        places.insert(at, (item, places[at - 1][1]))
    return places[:k]
