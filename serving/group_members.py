"""Each member of a group as the models see them: what is proposed to them, and what they would think of what the others are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from feature_store.user_blob import UserState
from serving.blended import Blend, Versions, history_of, mixed, shares
from serving.candidates.fixed_blend import PERSONAL
from serving.decision import Decision
from serving.interests import interests_of
from serving.plan import Plan
from serving.query import RecommendationQuery
from serving.ranking.fusion import contributions, fuse
from serving.reads import Reads
from serving.recommend import Recommender
from serving.sessions import Known

F64 = NDArray[np.float64]
_BELOW: Final = 1e6  # what the models know nothing of stands below all that they know


@dataclass(frozen=True)
class Member:
    """One member.

    Attributes:
        known: what the store knows of them. away: items that the group must not see; what they alone have had is not among them.
        own: what they are proposed as if they were alone, without `away`. Its votes are of the fixed blend, over all but `away`;
            empty where it was not asked.
    """

    known: Known
    away: frozenset[str]
    own: Decision

    @property
    def state(self) -> UserState | None:
        """What the store knows of what they did; None: nothing."""
        state = self.known.state
        return state if state is not None and state.newest else None

    @property
    def proposed(self) -> dict[str, float]:
        """What is proposed to them, best first. What they have had does not come at their own wish."""
        scores = self.own.blended.scores if self.own.blended else {}
        if scores and self.own.here:
            scores = mixed(scores, self.own.here, self.own.plan.weight_of_context)
        out = self.own.interests.seen.union(scores)
        return scores | {item: score for item, score in fuse(self.own.votes).items() if item not in out}

    @property
    def personal(self) -> bool:
        """Whether anything that is proposed goes by what they did."""
        voted, blended = any(self.own.votes.get(name) for name in PERSONAL), self.own.blended
        return bool(voted or (blended and (blended.personal or blended.remembered)))

    def said(self, item: str) -> dict[str, float]:
        """What each source says for the item, to this member."""
        if self.own.blended is not None and item in self.own.blended:
            return self.own.blended.sources(item)
        return contributions(self.own.votes, item)


class Members:
    """Asks for all members of a group.

    Args:
        recommender: proposes to each, and votes with its fixed blend where the online one has nothing to say.
        blend: has the models that score.
    """

    def __init__(self, recommender: Recommender, blend: Blend) -> None:
        self._recommender = recommender
        self._blend = blend

    async def proposed(
        self, queries: Sequence[RecommendationQuery], known: Sequence[Known], away: frozenset[str], plan: Plan,
        versions: Versions | None,
    ) -> list[Member]:  # fmt: skip
        """All members, with what the models propose to each.

        Args:
            known: of each. away: items that the group must not see. versions: `held`; None: there are no models.
        """
        members = []
        for query, one in zip(queries, known, strict=True):
            interests = interests_of(query, one.state, plan.kept_away(one.state))
            interests = replace(interests, seen=interests.seen | away)
            own = await self._recommender.proposed(query, interests, plan, one, versions=versions)
            members.append(Member(one, away, own))
            await asyncio.sleep(0)  # other requests get their turn
        return members

    async def voted(self, members: Sequence[Member], reads: Reads) -> list[Member]:
        """The same members with the votes of the fixed blend; one round trip for all of them."""
        seeds = list(dict.fromkeys(item for member in members for item in member.own.interests.seeds))
        neighbours = dict(await self._recommender.hydration.neighbours(seeds, reads))
        found = []
        for member in members:
            interests = member.own.interests
            asked = replace(member.own, interests=replace(interests, seen=member.away))
            own = [(item, neighbours[item]) for item in interests.seeds if item in neighbours]
            found.append(replace(member, own=replace(member.own, votes=self._recommender.fixed.voted(asked, own).votes)))
        return found

    def held(self) -> AbstractContextManager[Versions | None]:
        """The models of now, which all steps of one answer are made with."""
        return self._blend.held()

    async def scores(
        self, members: Sequence[Member], items: Sequence[str], last: Mapping[str, float], versions: Versions | None
    ) -> F64:
        """What each member would think of each item, float64[M, N]: comparable within a row alone. NaN: it must not come.

        Args:
            last: for items that nobody has anything to say of, in which order they come: larger first.
            versions: those that were proposed with.
        """
        rows = [await self._row(member, items, last, versions) for member in members]
        return np.array(rows, np.float64).reshape(len(members), len(items))

    async def _row(self, member: Member, items: Sequence[str], last: Mapping[str, float], versions: Versions | None) -> F64:
        voted = fuse(member.own.votes)
        rest = np.array([voted.get(item, 0.0) + last.get(item, 0.0) for item in items])
        if member.own.blended is None or versions is None:
            return rest
        # In a thread, one member at a time: other requests may want the models in between.
        asked = asyncio.to_thread(_asked, versions, member, items)
        scores = (await asked).astype(np.float64)
        return _where_they_are(np.where(np.isneginf(scores), rest - _BELOW, scores), items, member.own)


def _asked(versions: Versions, member: Member, items: Sequence[str]) -> NDArray[np.float32]:
    """The blend's scores for one member. What is new to them has the score of their own list; only what they have had is asked for
    apart, as something that may come again: beside it the rest would be scored otherwise than the models learnt to.
    """
    state, interests, (model, sources) = member.known.state, member.own.interests, versions
    moment = max(model.newest_ms, state.newest if state else 0)
    history = history_of(member.own.query, interests, state, moment)
    session = None if interests.page else member.known.session
    bank = model.bank
    with model.lock:
        said = sources.ask(history, moment, bank.items, session) if sources else None
        scores = bank.scores(items, history, moment, interests.seen, said, interests.again)
        had = np.flatnonzero(np.isnan(scores)).tolist()
        if had:
            scores[had] = bank.scores([items[at] for at in had], history, moment, member.away, said, True)
        return scores


def _where_they_are(scores: F64, items: Sequence[str], own: Decision) -> F64:
    """For somebody of whom nothing is known, what is popular where they are counts as much as it does for one person alone."""
    here, share = own.here, own.plan.weight_of_context
    if not here or not len(scores):
        return scores
    popular = np.array([here.get(item, 0.0) for item in items])
    known = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32)
    return np.where(np.isnan(scores), np.nan, (1 - share) * shares(known) + share * popular)
