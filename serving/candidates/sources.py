"""The candidate sources of the fixed blend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from serving.candidates.source import Asked, Candidates, Input, by_evidence
from serving.ranking.affinity import affinity, strongest_categories
from serving.ranking.covisitation import covisitation
from serving.ranking.fusion import WEIGHTS
from serving.shelf import Shelf
from serving.trending_lists import TrendingLists


class CoVisited:
    """What others took with what the person took last, see `ranking.covisitation`."""

    name: Final = "covisitation"
    weight: Final = WEIGHTS[name]
    reads: Final = frozenset({Input.NEIGHBOURS})

    def candidates(self, asked: Asked) -> Candidates:
        """See `CandidateSource`."""
        return by_evidence(covisitation(asked.neighbours), asked)


class Liked:
    """What is popular in the categories that the person likes, see `ranking.affinity`."""

    name: Final = "affinity"
    weight: Final = WEIGHTS[name]
    reads: Final = frozenset({Input.AFFINITIES, Input.POPULARITY})

    def __init__(self, lists: TrendingLists) -> None:
        self._lists = lists

    def candidates(self, asked: Asked) -> Candidates:
        """See `CandidateSource`."""
        liked = strongest_categories(asked.interests.affinities)
        return by_evidence(affinity(liked, {name: self._lists.category(name).best for name in liked}), asked)


class Described:
    """What is described like something that the person took last."""

    name: Final = "content"
    weight: Final = WEIGHTS[name]
    reads: Final = frozenset({Input.CONTENT})

    def candidates(self, asked: Asked) -> Candidates:
        """See `CandidateSource`."""
        return Candidates(asked.fitting(asked.alike))


class Unheard:
    """What is described like something that the person took last, and has no events yet. Its places are kept apart, see
    `ranking.newcomers`; no other source could propose it.

    Args:
        unheard_of: those of some items of which the models have learnt no event.
    """

    name: Final = "newcomers"
    weight: Final = 1.0
    reads: Final = frozenset({Input.CONTENT})

    def __init__(self, unheard_of: Callable[[Iterable[str]], Iterator[str]]) -> None:
        self._unheard_of = unheard_of

    def candidates(self, asked: Asked) -> Candidates:
        """See `CandidateSource`."""
        return Candidates(asked.fitting(self._unheard_of(asked.alike)))


class Trending:
    """What is popular: first in the contexts of the request, where anything is known of them, then over all half-lives."""

    name: Final = "trending"
    weight: Final = WEIGHTS[name]
    reads: Final = frozenset({Input.POPULARITY, Input.CONTEXT})

    def __init__(self, lists: TrendingLists) -> None:
        self._lists = lists

    def candidates(self, asked: Asked) -> Candidates:
        """See `CandidateSource`."""
        popular = self._lists.overall().best
        return Candidates(asked.fitting(dict.fromkeys([*asked.here, *popular]) if asked.here else popular))


class Newest:
    """The last resort: the newest of the catalogue, or what was asked for, in its order."""

    name: Final = "catalogue"
    weight: Final = WEIGHTS[name]
    reads: Final = frozenset({Input.CATALOGUE})

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def candidates(self, asked: Asked) -> Candidates:
        """See `CandidateSource`."""
        return Candidates(asked.fitting(self._shelf.newest if asked.only is None else dict.fromkeys(asked.only)))


@dataclass(frozen=True)
class Given:
    """What a source of a product team has answered to this request (`candidates.own`)."""

    name: str
    weight: float = 1.0
    reads: frozenset[Input] = frozenset({Input.ANSWERS})

    def candidates(self, asked: Asked) -> Candidates:
        """See `CandidateSource`."""
        return Candidates(asked.fitting(asked.given.get(self.name, ())))
