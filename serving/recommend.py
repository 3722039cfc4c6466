"""From a query to a decision: one pipeline, at most two store round trips, an answer whatever is missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from feature_store.item_blob import Neighbours, unpack_neighbours
from feature_store.keys import item_key, user_key
from feature_store.packing import CorruptBlob
from feature_store.user_blob import UserState, unpack_user
from schemas.errors import StoreUnavailable
from schemas.ids import partition_of
from serving.guarded_store import GuardedStore
from serving.interests import Interests, interests_of
from serving.query import RecommendationQuery
from serving.ranking.affinity import affinity, strongest_categories
from serving.ranking.covisitation import covisitation
from serving.ranking.evidence import Evidence, ranked, total
from serving.ranking.fusion import WEIGHTS, fuse, votes
from serving.shelf import Shelf
from serving.trending_lists import TrendingLists

log = logging.getLogger(__name__)

POOL: Final = 100  # items that each source proposes, and as many more as the query wants
Votes = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Decision:
    """What was decided for one query, and on what grounds.

    Attributes:
        state: what the store knows of the user; None: nothing, or it could not be asked.
        evidence: source name to its pieces of evidence.
        votes: source name to what it adds to each item it proposes.
        chosen: item and score, best first.
        dropped: how many better items were left out, by reason.
        degraded: why the answer is from a lower step; None: it is not.
        round_trips: how often the store was asked.
    """

    query: RecommendationQuery
    interests: Interests
    state: UserState | None = None
    evidence: Mapping[str, Sequence[Evidence]] = field(default_factory=dict)
    votes: Votes = field(default_factory=dict)
    chosen: Sequence[tuple[str, float]] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    degraded: str | None = None
    round_trips: int = 0


class Reads:
    """The store as one request sees it: a failed read finds nothing, and is remembered."""

    def __init__(self, store: GuardedStore) -> None:
        self._store = store
        self.round_trips = 0
        self.failed = False

    async def blobs(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """One round trip; none for no keys."""
        if not keys:
            return []
        self.round_trips += self._store.answers
        try:
            return await self._store.read(keys)
        except StoreUnavailable:
            self.failed = True
            return [None] * len(keys)


class Recommender:
    """Decides what to show. Everything it needs beyond two reads is already in the process."""

    def __init__(self, store: GuardedStore, lists: TrendingLists, shelf: Shelf) -> None:
        self._store = store
        self._lists = lists
        self._shelf = shelf

    async def recommend(self, query: RecommendationQuery) -> Decision:
        """Decide. Never fails for lack of a store, of events or of a catalogue."""
        reads = Reads(self._store)
        state = await self._user_state(query.user_id, reads)
        interests = interests_of(query, state)
        neighbours = await self._hydrated(interests, reads)
        evidence = {"covisitation": covisitation(neighbours), "affinity": self._affinity(interests)}
        proposed, seen = self._votes(evidence, query, interests)
        chosen, unavailable = self._select(proposed, query.k)
        if len(chosen) < query.k:
            proposed["catalogue"] = self._filler(proposed, query, interests)
            chosen, unavailable = self._select(proposed, query.k)
        dropped = {"seen": seen, "unavailable": unavailable}
        degraded = self._degraded(query, state, proposed, reads)
        return Decision(query, interests, state, evidence, proposed, chosen, dropped, degraded, reads.round_trips)

    async def _user_state(self, user_id: str | None, reads: Reads) -> UserState | None:
        if user_id is None:
            return None
        blob = (await reads.blobs([user_key(partition_of(user_id, self._lists.partitions), user_id)]))[0]
        if blob is None:
            return None
        try:
            return unpack_user(blob)
        except CorruptBlob as error:
            log.warning("state of user %r: %s", user_id, error)
            return None

    async def _hydrated(self, interests: Interests, reads: Reads) -> list[tuple[str, Neighbours]]:
        partitions = self._lists.partitions
        items = list(interests.seeds)
        blobs = await reads.blobs([item_key(partition_of(item, partitions), item) for item in items])
        found = []
        for item, blob in zip(items, blobs, strict=True):
            if blob is None:
                continue
            try:
                found.append((item, unpack_neighbours(blob)))
            except CorruptBlob as error:
                log.warning("state of item %r: %s", item, error)
        return found

    def _affinity(self, interests: Interests) -> list[Evidence]:
        shares = strongest_categories(interests.affinities)
        return affinity(shares, {name: self._lists.category(name).best for name in shares})

    def _votes(
        self, evidence: Mapping[str, Sequence[Evidence]], query: RecommendationQuery, interests: Interests
    ) -> tuple[Votes, int]:
        """What each source proposes of what the query allows and the person has not had, weighted; and how much they have had."""
        allowed = None if query.candidates is None else frozenset(query.candidates)
        limit = POOL + query.k
        proposed: Votes = {}
        dropped = 0
        for name, pieces in evidence.items():
            scores = total(pieces)
            dropped += sum(scores.pop(item, None) is not None for item in interests.seen)
            if allowed is not None:
                scores = {item: score for item, score in scores.items() if item in allowed}
            proposed[name] = votes(ranked(scores, limit), WEIGHTS[name])
        trending = (
            item for item in self._lists.overall().best if item not in interests.seen and (allowed is None or item in allowed)
        )
        proposed["trending"] = votes(list(islice(trending, limit)), WEIGHTS["trending"])
        return proposed, dropped

    def _filler(self, proposed: Votes, query: RecommendationQuery, interests: Interests) -> dict[str, float]:
        """The last resort: what was asked for, or the newest of the catalogue; only what no other source proposes."""
        rest = self._shelf.newest if query.candidates is None else dict.fromkeys(query.candidates)
        known = interests.seen.union(*proposed.values())
        return votes([item for item in rest if item not in known], WEIGHTS["catalogue"])

    def _select(self, proposed: Votes, k: int) -> tuple[list[tuple[str, float]], int]:
        """The best k that may be shown, and how many better ones may not."""
        chosen: list[tuple[str, float]] = []
        unavailable = 0
        for item, score in fuse(proposed).items():
            if len(chosen) == k:
                break
            if self._shelf.may_show(item):
                chosen.append((item, score))
            else:
                unavailable += 1
        return chosen, unavailable

    def _degraded(self, query: RecommendationQuery, state: UserState | None, proposed: Votes, reads: Reads) -> str | None:
        """The first of the reasons, from the most serious, why the answer is not fully personal."""
        known = state is not None and bool(state.newest)
        personal = bool(proposed["covisitation"] or proposed["affinity"])
        nothing_known = not personal and not proposed["trending"] and not self._lists.overall().best
        reasons = {
            "store_unavailable": reads.failed or not self._store.answers,
            "no_events": nothing_known and not known,
            "anonymous": query.user_id is None and not query.recent_items,
            "unknown_user": query.user_id is not None and not known,
            "no_similar_items": not personal,
            "catalogue_unavailable": self._shelf.missing,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)
