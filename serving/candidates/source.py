"""The interface of all candidate sources outside of the online blend: what they are asked with, and what they answer.

A source is asked with what has been read already: it waits for nothing, changes nothing, and answers the same to the same question.
`tests/test_candidate_sources.py` holds every one of them to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import islice
from typing import NamedTuple, Protocol

from feature_store.item_blob import Neighbours
from serving.interests import Interests
from serving.ranking.evidence import Evidence, ranked, total


class Input(StrEnum):
    """What a source may read of a question. What no source that is on declares is not read from the store."""

    NEIGHBOURS = "neighbours"
    AFFINITIES = "affinities"
    CONTENT = "content"
    CONTEXT = "context"
    POPULARITY = "popularity"
    CATALOGUE = "catalogue"
    ANSWERS = "answers"


@dataclass(frozen=True)
class Asked:
    """A question to candidate sources.

    Attributes:
        interests: of the person. chosen: what is in the list already. limit: so many items are wanted at most.
        only: the only items that may come, in the order in which they were named; None: all may.
        neighbours: of those of the person's last items that have any, newest first. alike: items described like those, best first,
            to their cosine. here: items to their share of what happens in the request's contexts, best first.
        given: what each source of a product team has answered, best first.
    """

    interests: Interests
    limit: int
    chosen: frozenset[str] = frozenset()
    only: Sequence[str] | None = None
    neighbours: Sequence[tuple[str, Neighbours]] = ()
    alike: Mapping[str, float] = field(default_factory=dict)
    here: Mapping[str, float] = field(default_factory=dict)
    given: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def out(self) -> frozenset[str]:
        """What must not come."""
        return self.interests.seen | self.chosen

    @cached_property
    def allowed(self) -> frozenset[str] | None:
        """The only items that may come; None: all may."""
        return None if self.only is None else frozenset(self.only)

    def fitting(self, best_first: Iterable[str]) -> list[str]:
        """The first of them that may come, at most `limit`."""
        out, allowed = self.out, self.allowed
        fitting = (item for item in best_first if item not in out)
        return list(islice(fitting if allowed is None else filter(allowed.__contains__, fitting), self.limit))


class Candidates(NamedTuple):
    """What a source proposes.

    Attributes:
        items: different ones, best first. evidence: what speaks for them, where the source can tell.
        seen: how many more it would have proposed that the person has had.
    """

    items: Sequence[str]
    evidence: Sequence[Evidence] = ()
    seen: int = 0


class CandidateSource(Protocol):
    """Proposes items.

    Attributes:
        name: as in `sources` of an answer and of the surfaces file. weight: built in, in the fusion of ranks.
        reads: what it reads of a question.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see above

    @property
    def weight(self) -> float: ...  # noqa: D102

    @property
    def reads(self) -> frozenset[Input]: ...  # noqa: D102

    def candidates(self, asked: Asked) -> Candidates:
        """At most `asked.limit` different items, best first, none of `asked.out`, and of `asked.only` alone where that is said."""


def by_evidence(evidence: Sequence[Evidence], asked: Asked) -> Candidates:
    """The items that evidence speaks for, by the sum of its parts."""
    scores = total(evidence)
    seen = sum(scores.pop(item, None) is not None for item in asked.interests.seen)
    allowed = asked.allowed
    scores = {item: score for item, score in scores.items() if item not in asked.chosen and (allowed is None or item in allowed)}
    return Candidates(ranked(scores, asked.limit), evidence, seen)
