"""One list for several people: the union of what is proposed to each, scored for all of them, put into one order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from feature_store.user_blob import HistoryEntry, UserState
from schemas.events import EventType
from serving.decision import Decision
from serving.explorer import Propensity
from serving.group_members import Member, Members
from serving.group_query import GroupQuery
from serving.guarded_store import GuardedStore
from serving.interests import Interests
from serving.plan import Plan, person_of
from serving.ranking.fusion import votes
from serving.ranking.groups import aggregated, group_order, ranks, satisfaction
from serving.reads import Reads
from serving.recommend import Recommender
from serving.shelf import Shelf

F64 = NDArray[np.float64]
_EACH: Final = 100  # of the best of each member, at least
_ALL: Final = 1000  # that everybody is asked about, as far as a hundred of each is not more


@dataclass(frozen=True)
class GroupDecision:
    """What was decided for a group, and on what grounds.

    Attributes:
        columns: candidate to its column. places, gains: float64[M, N], the rank of each candidate for each member, and what they
            gain by it.
        chosen: item and score, best first. newest: the newest event of any member and how long it took to have its effect, ms.
        pinned, relaxed, propensities, degraded, round_trips: as of `Decision`.
    """

    query: GroupQuery
    plan: Plan
    members: Sequence[Member]
    columns: Mapping[str, int]
    places: F64
    gains: F64
    chosen: Sequence[tuple[str, float]] = ()
    pinned: frozenset[str] = frozenset()
    relaxed: Sequence[str] = ()
    propensities: Mapping[str, Propensity] = field(default_factory=dict)
    degraded: str | None = None
    round_trips: int = 0

    @property
    def newest(self) -> tuple[int, int]:
        """Time of the newest event of any member, and how long it took to have its effect, ms; zeros: there is none."""
        return max(((one.state.newest, one.state.effect_ms) for one in self.members if one.state), default=(0, 0))


class GroupRecommender:
    """Decides what to show to several people.

    Args:
        recommender: that of single people; their steering, their reads and their fixed blend are the group's too.
    """

    def __init__(self, store: GuardedStore, shelf: Shelf, recommender: Recommender, members: Members) -> None:
        self._store = store
        self._shelf = shelf
        self._recommender = recommender
        self._members = members

    async def recommend(self, query: GroupQuery, plan: Plan) -> GroupDecision:
        """Decide. Never fails for lack of a store, of models, of events or of a catalogue; at most two round trips."""
        reads = Reads(self._store)
        known = await self._recommender.hydration.people(query.user_ids, reads)
        states = [one.state or UserState() for one in known]
        away = kept_from_all(states, plan)
        asked = [query.of(user_id) for user_id in query.user_ids]
        with self._members.held() as versions:
            members = await self._members.proposed(asked, known, away, plan, versions)
            members, candidates, last = await self._candidates(members, away, shared_state(states), plan, reads)
            scores = await self._members.scores(members, candidates, last, versions)
        decision = self._ordered(query, plan, members, candidates, scores)
        decision = await self._steered(decision, shared_state(states), reads)
        return replace(decision, degraded=self._degraded(decision, reads), round_trips=reads.round_trips)

    async def _candidates(
        self, members: list[Member], away: frozenset[str], shared: UserState, plan: Plan, reads: Reads
    ) -> tuple[list[Member], list[str], dict[str, float]]:
        """The union of what is proposed to the members and may be shown; where that is too little, the fixed blend is asked for
        all of them, and at last the newest of the catalogue, with its votes.
        """
        gate, steering = self._recommender.steering.gate(plan, shared), self._recommender.steering
        found = union(members, gate, plan)
        if any(member.own.blended is None for member in members) or not steering.enough(plan, shared, found):
            members = await self._members.voted(members, reads)
            found = union(members, gate, plan)
        weight = plan.weights["catalogue"]
        if not weight or steering.enough(plan, shared, found):
            return members, [item for item, _ in found], {}
        names = {item for item, _ in found}
        newest = [item for item in self._shelf.newest if item not in names and item not in away and gate(item)]
        return members, [*(item for item, _ in found), *newest], votes(newest, weight)

    def _ordered(
        self, query: GroupQuery, plan: Plan, members: Sequence[Member], candidates: Sequence[str], scores: F64
    ) -> GroupDecision:
        """The decision with all candidates, best first."""
        allowed = np.flatnonzero(~np.isnan(scores).any(axis=0))
        names = [candidates[column] for column in allowed.tolist()]
        places = ranks(scores[:, allowed])
        gains = satisfaction(places)
        total, order = aggregated(gains, query.strategy), group_order(gains, query.strategy, names)
        chosen = [(names[at], float(total[at])) for at in order.tolist()]
        if plan.plain:
            chosen = chosen[: query.k]
        return GroupDecision(query, plan, members, {name: at for at, name in enumerate(names)}, places, gains, chosen)

    async def _steered(self, decision: GroupDecision, shared: UserState, reads: Reads) -> GroupDecision:
        """The decision with the list that its plan makes of the candidates."""
        plan, query = decision.plan, decision.query
        if plan.plain:
            return decision
        asked = Decision(query.of(query.user_ids[0]), shared_interests(decision.members), plan, shared, chosen=decision.chosen)
        found = await self._recommender.steering.steered(asked, (), reads)
        return replace(
            decision, chosen=found.chosen, pinned=found.pinned, relaxed=found.relaxed, propensities=found.propensities
        )  # fmt: skip

    def _degraded(self, decision: GroupDecision, reads: Reads) -> str | None:
        """The first of the reasons, from the most serious, why the answer is not fully personal for everybody."""
        members = decision.members
        known = [member for member in members if member.state is not None]
        reasons = {
            "store_unavailable": reads.failed or not self._store.answers,
            "no_events": not known and not any(member.proposed for member in members),
            "unknown_user": not known,
            "unknown_members": len(known) < len(members),
            "no_similar_items": not all(member.personal for member in members),
            "catalogue_unavailable": self._shelf.missing,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def union(members: Sequence[Member], gate: Callable[[str], bool], plan: Plan) -> list[tuple[str, float]]:
    """The best of every member that may be shown, each item once; scores mean nothing here."""
    depth = max(_EACH, 2 * plan.k, _ALL // len(members))
    best = (islice(((item, 0.0) for item in member.proposed if gate(item)), depth) for member in members)
    return list(dict.fromkeys(pair for part in best for pair in part))


def kept_from_all(states: Sequence[UserState], plan: Plan) -> frozenset[str]:
    """What a group does not see: what any member ever hid or disliked, and what is kept away from all of them."""
    own = [plan.kept_away(state) for state in states]
    away = [person_of(state).seen if kept is None else kept for state, kept in zip(states, own, strict=True)]
    hidden = [person_of(state).hidden for state in states]
    return frozenset.intersection(*away).union(*hidden)


def shared_state(states: Sequence[UserState]) -> UserState:
    """The group as a filter sees one person: it has seen and bought what all have, and hidden what any has."""
    people = [person_of(state) for state in states]
    kinds = {
        EventType.HIDE: frozenset[str]().union(*(person.hidden for person in people)),
        EventType.PURCHASE: frozenset.intersection(*(person.bought for person in people)),
        EventType.VIEW: frozenset.intersection(*(person.seen for person in people)),
    }
    newest = max(state.newest for state in states)
    return UserState(history=[HistoryEntry(item, kind, newest) for kind, items in kinds.items() for item in sorted(items)])


def shared_interests(members: Sequence[Member]) -> Interests:
    """What all took last, and the mean of their leanings, each member's as shares: what calibration and serendipity go by."""
    seeds = sorted({item for member in members for item in member.own.interests.seeds})
    affinities: dict[str, float] = {}
    for own in (member.own.interests.affinities for member in members):
        whole = sum(own.values()) or 1.0
        for name, weight in own.items():
            affinities[name] = affinities.get(name, 0.0) + weight / whole / len(members)
    return Interests(dict.fromkeys(seeds), affinities=affinities)
