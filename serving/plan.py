"""What is to be done for one request: what its surface says, and what the request itself asks for on top of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from feature_store.user_blob import HistoryEntry, UserState
from schemas.events import NEGATIVE_TYPES, EventType
from serving.filters.attributes import Person
from serving.filters.compiled import Predicate, compiled
from serving.filters.errors import InvalidFilter
from serving.problems import InvalidRequest
from serving.query import RecommendationQuery
from serving.ranking.fusion import WEIGHTS
from serving.surfaces import BUILT_IN, DEFAULT, NO_SURFACES, Constraint, Exploration, Surface, Surfaces
from serving.wishes import constraints_of

_SOME: Final = 200  # as many as are reranked
_MANY: Final = 1000
WHERE_THEY_ARE: Final = 2 / 3  # built in, see `Plan.weight_of_context`


@dataclass(frozen=True)
class Plan:
    """How the list of one request is made.

    Attributes:
        name: of the surface.
        plain: nothing is steered: the best k, as they are.
        filters: all must hold. constraints: name and filter, most important first.
        diversity: [0, 1]. explore: how much, see `Exploration.amount`; 0: not at all.
        request_id: what chance is drawn from. now_ms: the moment of ages and resurfacing.
        own: sources of a product team that are asked, to their weights.
    """

    k: int
    name: str = DEFAULT
    surface: Surface = BUILT_IN
    plain: bool = True
    filters: tuple[Predicate, ...] = ()
    constraints: tuple[tuple[str, Predicate], ...] = ()
    diversity: float = 0.0
    explore: float = 0.0
    request_id: str = ""
    now_ms: int = 0
    own: Mapping[str, float] = field(default_factory=dict)

    @property
    def wanted(self) -> int:
        """How many candidates that may be shown the list is made of."""
        return self.k if self.plain else _MANY if self.constraints else _SOME

    @property
    def reach(self) -> int:
        """How many candidates of a source are looked at, beyond a fixed number; filters leave few of them."""
        return self.k if self.plain else _MANY

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each source of the fixed blend, with those of a product team."""
        if self.plain:
            return WEIGHTS
        return {name: weight * getattr(self.surface.sources, name) for name, weight in WEIGHTS.items()} | dict(self.own)

    @property
    def weight_of_context(self) -> float:
        """What is popular in the request's contexts against what the blend thinks, for somebody of whom nothing else is known."""
        return min(1.0, WHERE_THEY_ARE * self.surface.sources.context)

    @property
    def exploration(self) -> Exploration:
        """The method and its bounds, also where the surface has none and the request asks for it."""
        return self.surface.exploration or _EXPLORATION

    def kept_away(self, state: UserState | None) -> frozenset[str] | None:
        """Items of the history that must not come again yet; None: all of them."""
        if self.plain or state is None:
            return None
        return frozenset(entry.item_id for entry in state.history if self._keeps(entry))

    def _keeps(self, entry: HistoryEntry) -> bool:
        rules = self.surface.exclude
        periods = [rules.seen]
        if entry.type == EventType.PURCHASE:
            periods.append(rules.bought)
        if entry.type in NEGATIVE_TYPES:
            periods.append(rules.hidden)
        return any(period is None or self.now_ms - entry.timestamp < period for period in periods)


_EXPLORATION: Final = Exploration()


def plan_of(query: RecommendationQuery, surfaces: Surfaces = NO_SURFACES, request_id: str = "", now_ms: int = 0) -> Plan:
    """The plan of a request by the surfaces in force.

    Raises:
        InvalidRequest: its constraints make no sense.
    """
    name, surface = surfaces.named(query.surface)
    diversity = surface.diversity.default if query.diversity is None else query.diversity
    explore = query.explore if query.explore is not None else surface.exploration.amount if surface.exploration else 0.0
    if surface.neutral and not (query.filter or query.constraints or diversity or explore):
        return Plan(query.k, name, request_id=request_id, now_ms=now_ms)
    return Plan(
        query.k, name, surface, False,
        tuple(map(compiled, filters_of(query, surface))),
        tuple((one.name, compiled(one.filter)) for one in wishes_of(query, surface)),
        diversity, explore, request_id, now_ms,
        {own: surfaces.sources[own].weight * factor for own, factor in surface.sources.own.items() if factor},
    )  # fmt: skip


def filters_of(query: RecommendationQuery, surface: Surface) -> tuple[str, ...]:
    """All filters of a request; every item of its list meets every one."""
    return tuple(text for text in (surface.filter, query.filter) if text)


def wishes_of(query: RecommendationQuery, surface: Surface) -> tuple[Constraint, ...]:
    """All constraints of a request, most important first.

    Raises:
        InvalidRequest: those of the query make no sense.
    """
    try:
        return (*constraints_of(query.constraints or ()), *surface.constraints)
    except InvalidFilter as error:
        raise InvalidRequest("constraints", str(error)) from error
    except ValidationError as error:
        raise InvalidRequest("constraints", error.errors()[0]["msg"]) from error


def person_of(state: UserState | None) -> Person:
    """What the person did, for filters."""
    history = state.history if state else []
    return Person(
        frozenset(entry.item_id for entry in history),
        frozenset(entry.item_id for entry in history if entry.type == EventType.PURCHASE),
        frozenset(entry.item_id for entry in history if entry.type in NEGATIVE_TYPES),
    )
