"""The order of a request's candidates by its surface: relevance adjusted, then the terms of `ranking.greedy` that it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.filters.attributes import Facts, reader
from serving.filters.parser import parse_attribute
from serving.interests import Interests
from serving.item_facts import ItemFacts
from serving.plan import Plan
from serving.ranking.adjustments import damped, mixed_in, novelty, serendipity
from serving.ranking.calibration import Calibration, mixes
from serving.ranking.content_vectors import content_vectors
from serving.ranking.diversity import Redundancy, Volume
from serving.ranking.exposure import Caps, Exposure, grouped
from serving.ranking.greedy import Term, greedy, scaled

CONSIDERED: Final = 200  # of the best candidates; those behind them keep their places
F64 = NDArray[np.float64]
Scored = tuple[str, float]


class Reranker:
    """Puts candidates into the order of a plan.

    Args:
        popularity: item to popularity relative to the most popular one, (0, 1]; what is missing has next to none.
    """

    def __init__(self, plan: Plan, interests: Interests, facts: ItemFacts, popularity: Mapping[str, float]) -> None:
        self._plan = plan
        self._interests = interests
        self._facts = facts
        self._popularity = popularity
        surface = plan.surface
        self._adjusts = bool(surface.popularity_damping or surface.novelty or surface.serendipity)
        self._capped = surface.caps.each is not None or bool(surface.caps.categories)
        self._idle = not (self._adjusts or self._capped or plan.diversity or surface.calibration or surface.exposure)

    def order(self, candidates: Sequence[Scored], facts: Mapping[str, Facts], depth: int) -> list[Scored]:
        """The first `depth` in their order.

        Args:
            candidates: best first. facts: of each.
        """
        if self._idle:
            return list(candidates[:depth])
        top = list(candidates[: max(CONSIDERED, depth)])
        relevance = self._relevance(top)
        if self._adjusts:
            best = np.argsort(-relevance, kind="stable")
            top, relevance = [top[at] for at in best.tolist()], relevance[best]
        chosen = greedy(relevance, self._terms(top, facts), depth, self._caps(top, facts))
        return [top[at] for at in chosen.tolist()]

    def _relevance(self, top: Sequence[Scored]) -> F64:
        surface = self._plan.surface
        relevance = scaled(np.array([score for _, score in top]))
        if not self._adjusts:
            return relevance
        popularity = np.array([self._popularity.get(item, 0.0) for item, _ in top])
        relevance = mixed_in(damped(relevance, popularity, surface.popularity_damping), novelty(popularity), surface.novelty)
        if surface.serendipity:
            past = list(self._interests.seeds)
            vectors = content_vectors([self._facts.terms(item) for item in (*past, *(item for item, _ in top))])
            unexpected = serendipity(relevance, vectors[len(past) :], vectors[: len(past)])
            relevance = mixed_in(relevance, unexpected, surface.serendipity)
        return relevance

    def _terms(self, top: Sequence[Scored], facts: Mapping[str, Facts]) -> list[Term]:
        surface, terms = self._plan.surface, list[Term]()
        if self._plan.diversity:
            unlike = Volume if surface.diversity.method == "dpp" else Redundancy
            terms.append(unlike(content_vectors([self._facts.terms(item) for item, _ in top]), self._plan.diversity))
        if surface.calibration:
            mix, shares = mixes(self._interests.affinities, self._categories(top, facts))
            if len(mix):
                terms.append(Calibration(mix, shares, surface.calibration))
        if surface.exposure:
            names = _groups(surface.exposure.by, [facts[item] for item, _ in top])
            terms.append(Exposure(*grouped(names, surface.exposure.targets), surface.exposure.weight))
        return terms

    def _caps(self, top: Sequence[Scored], facts: Mapping[str, Facts]) -> Caps | None:
        caps = self._plan.surface.caps
        return Caps(self._categories(top, facts), caps.categories, caps.each) if self._capped else None

    def _categories(self, top: Sequence[Scored], facts: Mapping[str, Facts]) -> list[Sequence[str]]:
        return [facts[item].fields.get("categories", ()) for item, _ in top]


def _groups(by: str, facts: Sequence[Facts]) -> list[str | None]:
    """The value of the attribute for each item, of a list its first; None: it has none."""
    read = reader(parse_attribute(by).path)
    values = (read(one) for one in facts)
    firsts = (next(iter(value), None) if isinstance(value, list) else value for value in values)
    return [None if value is None else str(value) for value in firsts]
