"""From candidates to a list by a plan: filters, boosts, constraints, reranker, selector with chance, newcomers, pins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

from feature_store.item_blob import unpack_item
from feature_store.keys import item_key
from feature_store.packing import CorruptBlob
from feature_store.user_blob import UserState
from schemas.events import TYPE_WEIGHTS
from schemas.ids import partition_of
from serving.decision import Decision
from serving.explorer import Propensity, Scored, Tried, places_of, some_places, whole_list
from serving.filters.attributes import Facts, Person
from serving.filters.compiled import Predicate, compiled, every
from serving.item_facts import FactsFor, ItemFacts
from serving.plan import Plan, person_of
from serving.ranking.newcomers import with_newcomers
from serving.ranking.relaxation import kept, tiers
from serving.reads import Reads
from serving.reranker import Reranker
from serving.shelf import Shelf
from serving.shown import Shown
from serving.trending_lists import TrendingLists

_HOPEFUL: Final = 50  # newcomers that are looked at
_ROUND_TRIPS: Final = 2
UNAVAILABLE: Final = "unavailable"
_SURE: Final = Propensity(1.0)
_Rule = tuple[str, Predicate]


class Steered(NamedTuple):
    """A list, and what made it.

    Attributes:
        newcomers: those that have a place because nobody has taken them yet. pinned: those with a fixed place.
        relaxed: names of the constraints that gave way, most important first.
        propensities: of all items, where there was chance in the list; else empty.
    """

    chosen: list[Scored]
    newcomers: frozenset[str] = frozenset()
    pinned: frozenset[str] = frozenset()
    relaxed: tuple[str, ...] = ()
    propensities: Mapping[str, Propensity] = {}


class Steering:
    """Makes lists by plans.

    Attributes:
        shown: what this process has shown; for surfaces with Thompson sampling.
    """

    def __init__(self, shelf: Shelf, lists: TrendingLists) -> None:
        self._shelf = shelf
        self._lists = lists
        self._facts = ItemFacts(shelf)
        self.shown = Shown()

    def gate(self, plan: Plan, state: UserState | None) -> Callable[[str], bool]:
        """Whether an item may be shown, here, to this person."""
        may_show = self._shelf.may_show
        if not plan.filters:
            return may_show
        admits = self._meeting(plan, plan.filters, person_of(state))
        return lambda item: may_show(item) and admits(item)

    def refusal(self, item: str, filters: Iterable[str], state: UserState | None, now_ms: int) -> str | None:
        """Why an item may not be shown: `unavailable`, or the first filter that it does not meet; None: it may."""
        return self.refusals([item], filters, state, now_ms).get(item)

    def refusals(self, items: Iterable[str], filters: Iterable[str], state: UserState | None, now_ms: int) -> dict[str, str]:
        """Those of the items that may not be shown, with why, see `refusal`."""
        person, rules = person_of(state), [(text, compiled(text)) for text in filters]
        found = {item: self._refusal(item, rules, person, now_ms) for item in items}
        return {item: rule for item, rule in found.items() if rule is not None}

    def unmet(self, item: str, filters: Iterable[str], state: UserState | None, now_ms: int) -> str | None:
        """The first of some filters that an item does not meet; None: it meets all."""
        return self._unmet(item, [(text, compiled(text)) for text in filters], person_of(state), now_ms)

    def _refusal(self, item: str, rules: Sequence[_Rule], person: Person, now_ms: int) -> str | None:
        return self._unmet(item, rules, person, now_ms) if self._shelf.may_show(item) else UNAVAILABLE

    def _unmet(self, item: str, rules: Sequence[_Rule], person: Person, now_ms: int) -> str | None:
        facts = self._facts.of(item, person, now_ms) if rules else None
        return next((text for text, holds in rules if facts is not None and not holds(facts)), None)

    def enough(self, plan: Plan, state: UserState | None, candidates: Sequence[Scored]) -> bool:
        """Whether the candidates fill a list that meets every constraint."""
        if not plan.constraints:
            return len(candidates) >= plan.k
        meets = self._meeting(plan, [holds for _, holds in plan.constraints], person_of(state))
        return sum(1 for _ in islice(filter(meets, (item for item, _ in candidates)), plan.k)) == plan.k

    async def steered(self, decision: Decision, newcomers: Iterable[str], reads: Reads) -> Steered:
        """The list that the decision's plan makes of its candidates.

        Args:
            decision: `chosen` has all candidates that may be shown, best first.
            newcomers: items that nobody has taken yet and that may be shown, best first.
        """
        plan, person, scores = decision.plan, person_of(decision.state), dict(decision.chosen)
        pins = self._pins(decision, person)
        free = plan.k - len(pins)
        candidates = [(item, score) for item, score in decision.chosen if item not in pins]
        facts = FactsFor(self._facts, person, plan.now_ms)
        reranker = Reranker(plan, decision.interests, self._facts, self._lists.overall().best)
        order, held = _by_tiers(plan, _boosted(plan, candidates, facts), facts, free, reranker)
        meets = self._meeting(plan, [holds for _, holds in plan.constraints[:held]], person)
        best = {item for item, _ in order[:free]}
        fresh = [item for item in islice(newcomers, _HOPEFUL) if item not in pins and item not in best and meets(item)]
        chosen, came, propensities = await self._selected(plan, order, fresh, free, reads)
        for item, position in sorted(pins.items(), key=lambda pin: pin[1]):
            chosen.insert(position - 1, (item, 0.0))
        if plan.explore:
            propensities = dict.fromkeys((*pins, *came), _SURE) | propensities
        # What a source said of an item stays its score: boosts and terms say in which order, not how good.
        told = [(item, scores.get(item, score)) for item, score in chosen]
        relaxed = tuple(name for name, _ in plan.constraints[held:])
        return Steered(told, frozenset(came), frozenset(pins), relaxed, propensities)

    async def _selected(
        self, plan: Plan, order: list[Scored], newcomers: list[str], k: int, reads: Reads
    ) -> tuple[list[Scored], list[str], dict[str, Propensity]]:
        """k places, which newcomers have some of them, and propensities where there is chance."""
        if plan.explore and plan.exploration.method == "thompson":
            hopefuls = await self._hopefuls(plan, order, newcomers, k, reads)
            chosen, propensities = some_places(plan, order, hopefuls, k)
            return chosen, [item for item in newcomers if item in propensities], propensities
        places = {item for item, _ in with_newcomers(order[:k], newcomers, k)}
        came = [item for item in newcomers if item in places]
        if not plan.explore:
            return with_newcomers(order[:k], came, k), came, {}
        rest = [(item, score) for item, score in order if item not in came]
        drawn, propensities = whole_list(plan, rest, k - len(came))
        return with_newcomers(drawn, came, k), came, propensities

    async def _hopefuls(self, plan: Plan, order: list[Scored], newcomers: list[str], k: int, reads: Reads) -> dict[str, Tried]:
        """Of the pool behind the sure places, and of the newcomers, those with few impressions and few events."""
        behind = [item for item, _ in order[k - places_of(plan, k) : plan.exploration.pool]]
        names = list(dict.fromkeys([*behind, *newcomers]))
        taken = await self._taken(names, reads)
        tried = {item: Tried(self.shown.times(item), count) for item, count in zip(names, taken, strict=True)}
        return {item: one for item, one in tried.items() if one.trials < plan.exploration.few}

    async def _taken(self, items: Sequence[str], reads: Reads) -> list[int]:
        """How often each item was clicked, bought, ...; 0 for all where the request has had its two round trips."""
        if reads.round_trips >= _ROUND_TRIPS:
            return [0] * len(items)
        partitions = self._lists.partitions
        return list(map(_positive, await reads.blobs([item_key(partition_of(item, partitions), item) for item in items])))

    def _pins(self, decision: Decision, person: Person) -> dict[str, int]:
        plan, may_show = decision.plan, self.gate(decision.plan, decision.state)
        pins = (pin for pin in plan.surface.pins if pin.position <= plan.k and pin.item not in person.hidden)
        return {pin.item: pin.position for pin in pins if may_show(pin.item)}

    def _meeting(self, plan: Plan, conditions: Sequence[Predicate], person: Person) -> Callable[[str], bool]:
        holds, facts, now_ms = every(conditions), self._facts.of, plan.now_ms
        return lambda item: holds(facts(item, person, now_ms))


def _positive(blob: bytes | None) -> int:
    try:
        counts = unpack_item(blob).counts if blob else []
    except CorruptBlob:
        return 0
    return sum(count for count, weight in zip(counts, TYPE_WEIGHTS, strict=False) if weight >= 1)


def _boosted(plan: Plan, candidates: list[Scored], facts: Mapping[str, Facts]) -> list[Scored]:
    """The candidates with boosted scores, best first."""
    boosts = [(compiled(boost.when), boost.factor) for boost in plan.surface.boosts]
    if not boosts:
        return candidates
    factors = {item: float(np.prod([by for holds, by in boosts if holds(facts[item])])) for item, _ in candidates}
    return sorted(((item, score * factors[item]) for item, score in candidates), key=lambda pair: -pair[1])


def _by_tiers(
    plan: Plan, candidates: list[Scored], facts: Mapping[str, Facts], k: int, reranker: Reranker
) -> tuple[list[Scored], int]:
    """The order, and how many constraints are kept: what meets them all first, then what meets all but the least important, ...

    Each tier is ordered by itself.
    """
    depth = max(k, plan.exploration.pool if plan.explore else 0)
    if not plan.constraints:
        return reranker.order(candidates, facts, depth), 0
    levels = tiers([[holds(facts[item]) for item, _ in candidates] for _, holds in plan.constraints])
    held = kept(levels, len(plan.constraints), k)
    order: list[Scored] = []
    for level in range(len(plan.constraints), held - 1, -1):
        tier = [one for one, at in zip(candidates, levels.tolist(), strict=True) if at == level]
        order += reranker.order(tier, facts, depth - len(order))
    return order, held
