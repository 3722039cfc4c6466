"""Given items in the order in which somebody would want them: all of them, whatever they had or hid before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Context
from schemas.ids import Id
from serving.blended import shares
from serving.decision import Decision
from serving.group_members import F64, Member, Members
from serving.guarded_store import GuardedStore
from serving.plan import Plan
from serving.query import MAX_CANDIDATES, DifferentIds, RecommendationQuery
from serving.reads import Reads
from serving.recommend import Recommender
from serving.sessions import identities, together


class RankQuery(BaseModel):
    """Items to be put in order: the body of `POST /v1/rank`.

    Attributes:
        items: 1 to 2,000 different ones; those that nobody knows stand last, in the order in which they were given.
        user_id, session_id, context: as of `RecommendationQuery`; without any of them, what is popular comes first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: DifferentIds = Field(min_length=1, max_length=MAX_CANDIDATES, examples=[["7", "3"]])
    user_id: Id | None = None
    session_id: Id | None = None
    context: Context = Field(default_factory=dict, max_length=64)

    @property
    def asked(self) -> RecommendationQuery:
        """The same as a question for recommendations."""
        return RecommendationQuery.model_construct(user_id=self.user_id, session_id=self.session_id, context=self.context, k=1)


class Ranked(NamedTuple):
    """Items and scores, best first.

    Attributes:
        decision: what is known of the person, and what the models propose to them.
        degraded: why it is not fully personal; None: it is.
        round_trips: how often the store was asked.
    """

    order: list[tuple[str, float]]
    decision: Decision
    degraded: str | None
    round_trips: int


class Ranker:
    """Scores items for one person, with the models and the fixed blend that recommend."""

    def __init__(self, store: GuardedStore, recommender: Recommender, members: Members) -> None:
        self._store = store
        self._recommender = recommender
        self._members = members

    async def rank(self, query: RankQuery) -> Ranked:
        """All items in order. Never fails for lack of a store, of models or of events; at most two round trips."""
        reads = Reads(self._store)
        known = together(await self._recommender.hydration.people(identities(query.user_id, query.session_id), reads))
        with self._members.held() as versions:
            members = await self._members.proposed([query.asked], [known], frozenset(), Plan(1), versions)
            if members[0].own.blended is None:
                members = await self._members.voted(members, reads)
            (row,) = await self._members.scores(members, query.items, {}, versions)
        scores = _scores(members[0], row)
        order = np.argsort(-scores, kind="stable").tolist()
        degraded = self._degraded(query, members[0].state is not None, members[0].personal, reads)
        return Ranked([(query.items[at], float(scores[at])) for at in order], members[0].own, degraded, reads.round_trips)

    def _degraded(self, query: RankQuery, known: bool, personal: bool, reads: Reads) -> str | None:
        reasons = {
            "store_unavailable": reads.failed or not self._store.answers,
            "anonymous": query.user_id is None and not known,
            "unknown_user": not known,
            "no_similar_items": not personal,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def _scores(member: Member, row: F64) -> F64:
    """What the answer tells: probabilities among the items by the online blend, votes of the fixed one; 0 for what they refused."""
    if member.own.blended is None or member.own.here:
        return np.nan_to_num(row)
    known = ~np.isnan(row)
    scores = np.zeros(len(row))
    scores[known] = shares(row[known].astype(np.float32))
    return scores
