"""The fixed blend: weighted fusion of the sources' ranks, for what the online blend leaves open and while there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from feature_store.item_blob import Neighbours
from serving.candidates.source import Asked, CandidateSource, Input
from serving.candidates.sources import CoVisited, Described, Given, Liked, Newest, Trending
from serving.decision import Decision, Votes
from serving.query import MAX_CANDIDATES
from serving.ranking.evidence import Evidence
from serving.ranking.fusion import votes
from serving.shelf import Shelf
from serving.trending_lists import TrendingLists

PERSONAL: Final = (CoVisited.name, Liked.name, Described.name)
"""Sources that go by what the person did."""
POOL: Final = 100  # items that each source proposes, and as many more as the query wants


class Voted(NamedTuple):
    """What the sources say.

    Attributes:
        evidence: source name to its pieces of evidence, where it has any. votes: source name to what it adds to each item.
        seen: how much of what they speak for the person has had.
    """

    evidence: Mapping[str, Sequence[Evidence]]
    votes: Votes
    seen: int


class FixedBlend:
    """Asks the sources that are on, in the order in which equals stand."""

    def __init__(self, lists: TrendingLists, shelf: Shelf) -> None:
        self._personal: tuple[CandidateSource, ...] = (CoVisited(), Liked(lists))
        self._described, self._trending, self._newest = Described(), Trending(lists), Newest(shelf)

    def reads(self, weights: Mapping[str, float]) -> frozenset[Input]:
        """What must be known before the sources with these weights can be asked."""
        return frozenset().union(*(source.reads for source in self._personal if weights[source.name]))

    def voted(self, decision: Decision, neighbours: Sequence[tuple[str, Neighbours]]) -> Voted:
        """What each source proposes of what the query allows, the person has not had and is not chosen yet, weighted.

        What is described alike has a voice where nothing else personal has one.

        Args:
            neighbours: of those of the person's seeds that have any.
        """
        asked, weights = _asked(decision, neighbours), decision.plan.weights
        found = Voted({}, {}, 0)
        for source in self._personal:
            found = _heard(found, source, weights, asked)
        if not any(found.votes.values()):
            found = _heard(found, self._described, weights, asked)
        for own in decision.given:
            found = _heard(found, Given(own), weights, asked)
        return _heard(found, self._trending, weights, asked)

    def filler(self, decision: Decision, proposed: Votes) -> dict[str, float]:
        """The last resort: only what no other source proposes."""
        known = frozenset(item for item, _ in decision.chosen).union(*proposed.values())
        asked = Asked(decision.interests, MAX_CANDIDATES, known, decision.query.candidates)
        weight = decision.plan.weights[self._newest.name]
        return votes(self._newest.candidates(asked).items, weight) if weight else {}


def _asked(decision: Decision, neighbours: Sequence[tuple[str, Neighbours]]) -> Asked:
    return Asked(
        decision.interests, POOL + decision.plan.reach, frozenset(item for item, _ in decision.chosen), decision.query.candidates,
        neighbours, decision.alike, decision.here, {name: answer.items for name, answer in decision.given.items()},
    )  # fmt: skip


def _heard(found: Voted, source: CandidateSource, weights: Mapping[str, float], asked: Asked) -> Voted:
    """What was found, with what one more source says."""
    weight = weights[source.name]
    if not weight:
        return found
    items, evidence, seen = source.candidates(asked)
    return Voted(
        {**found.evidence, source.name: evidence} if evidence else found.evidence,
        {**found.votes, source.name: votes(items, weight)},
        found.seen + seen,
    )  # fmt: skip
