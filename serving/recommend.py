"""From a query to a decision: one pipeline, at most two store round trips, an answer whatever is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from feature_store.item_blob import Neighbours, unpack_neighbours
from feature_store.keys import item_key, user_key
from feature_store.packing import CorruptBlob
from feature_store.user_blob import UserState, unpack_user
from schemas.errors import StoreUnavailable
from schemas.ids import partition_of
from serving.blended import Blend, Blended, mixed
from serving.content_source import ContentSource, Likeness
from serving.guarded_store import GuardedStore
from serving.interests import Interests, interests_of
from serving.query import RecommendationQuery
from serving.ranking.affinity import affinity, strongest_categories
from serving.ranking.covisitation import covisitation
from serving.ranking.evidence import Evidence, ranked, total
from serving.ranking.fusion import WEIGHTS, contributions, fuse, votes
from serving.ranking.newcomers import with_newcomers
from serving.shelf import Shelf
from serving.situation import contexts_of
from serving.trending_lists import TrendingLists

log = logging.getLogger(__name__)

WHERE_THEY_ARE: Final = 2 / 3  # weight of what is popular in the request's contexts, for somebody of whom nothing else is known
POOL: Final = 100  # items that each source proposes, and as many more as the query wants
_ALIKE: Final = 500  # items looked through for those that nobody has taken yet
_PERSONAL: Final = ("covisitation", "affinity", "content")
Votes = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Decision:
    """What was decided for one query, and on what grounds.

    Attributes:
        state: what the store knows of the user; None: nothing, or it could not be asked.
        blended: what the online blend proposed; None: it is not there or untrained.
        evidence: source name to its pieces of evidence. Empty where the blend filled the list.
        votes: source name to what it adds to each item it proposes; likewise.
        alike: items described like what the person took last, to their cosine. here: for somebody of whom nothing is known, items
            to their share of what happens in the contexts of the request.
        newcomers: which of the chosen have a place because nobody has taken them yet. likeness: why those are here that are
            here for their content.
        led_by: of the chosen of the blend, to the past item that speaks most for it, where one does.
        chosen: item and score, best first. Items of the blend come before all others but newcomers.
        tail: what the votes of the items behind those of the blend are multiplied by, so that scores fall.
        dropped: how many better items were left out, by reason.
        degraded: why the answer is from a lower step; None: it is not.
        round_trips: how often the store was asked.
    """

    query: RecommendationQuery
    interests: Interests
    state: UserState | None = None
    blended: Blended | None = None
    evidence: Mapping[str, Sequence[Evidence]] = field(default_factory=dict)
    votes: Votes = field(default_factory=dict)
    alike: Mapping[str, float] = field(default_factory=dict)
    here: Mapping[str, float] = field(default_factory=dict)
    newcomers: frozenset[str] = frozenset()
    likeness: Mapping[str, Likeness | None] = field(default_factory=dict)
    led_by: Mapping[str, str] = field(default_factory=dict)
    chosen: Sequence[tuple[str, float]] = ()
    tail: float = 1.0
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
    """Decides what to show. Everything it needs beyond two reads (one, where the blend is trained) is already in the process."""

    def __init__(self, store: GuardedStore, lists: TrendingLists, shelf: Shelf, blend: Blend, content: ContentSource) -> None:
        self._store = store
        self._lists = lists
        self._shelf = shelf
        self._blend = blend
        self._content = content

    async def recommend(self, query: RecommendationQuery) -> Decision:
        """Decide. Never fails for lack of a store, of models, of events or of a catalogue."""
        reads = Reads(self._store)
        state = await self._user_state(query.user_id, reads)
        interests = interests_of(query, state)
        alike = self._content.candidates(interests.seeds, _ALIKE, interests.seen)
        here = {} if interests.seeds else self._blend.popular_where(contexts_of(query.context), POOL + query.k)
        blended = await self._blend.propose(query, interests, state)
        if blended is not None and alike and not (blended.personal or blended.remembered):
            blended = None  # it knows nothing that they took: what is described like it says more
        chosen, unavailable = self._best_of_blend(blended, here, query)
        decision = Decision(
            query, interests, state, blended, alike=alike, here=here, chosen=chosen, dropped={"unavailable": unavailable}
        )
        if len(chosen) < query.k:
            decision = await self._filled(decision, reads)
        decision = self._explained(self._with_newcomers(decision))
        return replace(decision, degraded=self._degraded(decision, reads), round_trips=reads.round_trips)

    def _best_of_blend(
        self, blended: Blended | None, here: Mapping[str, float], query: RecommendationQuery
    ) -> tuple[list[tuple[str, float]], int]:
        """The blend's best k that are asked for and may be shown, and how many better ones may not.

        For somebody of whom nothing is known, what is popular where they are counts as much as what the blend thinks.
        """
        if blended is None:
            return [], 0
        allowed = None if query.candidates is None else frozenset(query.candidates)
        scores = mixed(blended.scores, here, WHERE_THEY_ARE) if here else blended.scores
        asked_for = ((item, score) for item, score in scores.items() if allowed is None or item in allowed)
        return self._available(asked_for, query.k)

    def _with_newcomers(self, decision: Decision) -> Decision:
        """The decision with a few places for what is described like what the person took and has no events yet."""
        query, chosen = decision.query, {item for item, _ in decision.chosen}
        allowed = None if query.candidates is None else frozenset(query.candidates)
        fitting = (item for item in decision.alike if item not in chosen and (allowed is None or item in allowed))
        unheard_of = (item for item in self._blend.unheard_of(fitting) if self._shelf.may_show(item))
        places = with_newcomers(decision.chosen, unheard_of, query.k)
        return replace(decision, chosen=places, newcomers=frozenset(item for item, _ in places) - chosen)

    def _explained(self, decision: Decision) -> Decision:
        """The decision with which past item speaks for each of the blend's, and what those items that are here for their content
        have in common with something that the person took.
        """
        voted, seeds = decision.votes.get("content", {}), list(decision.interests.seeds)
        alike = {item for item, _ in decision.chosen if item in voted and _led_by(decision.votes, item) == "content"}
        likeness = {item: self._content.likeness(item, seeds) for item in alike | decision.newcomers}
        led_by = decision.blended.seeds(item for item, _ in decision.chosen) if decision.blended else {}
        return replace(decision, likeness=likeness, led_by=led_by)

    async def _filled(self, decision: Decision, reads: Reads) -> Decision:
        """The decision with the rest of the list from the fixed blend of other sources: all of it where there is no online one."""
        query, interests, first = decision.query, decision.interests, decision.chosen
        neighbours = await self._hydrated(interests, reads)
        evidence = {"covisitation": covisitation(neighbours), "affinity": self._affinity(interests)}
        proposed, seen = self._votes(evidence, decision, frozenset(item for item, _ in first))
        wanted = query.k - len(first)
        chosen, unavailable = self._available(iter(fuse(proposed).items()), wanted)
        if len(chosen) < wanted:
            proposed["catalogue"] = self._filler(proposed, query, interests.seen.union(item for item, _ in first))
            chosen, unavailable = self._available(iter(fuse(proposed).items()), wanted)
        tail = first[-1][1] if first else 1.0
        dropped = {"seen": seen, "unavailable": decision.dropped["unavailable"] + unavailable}
        behind = [(item, tail * score) for item, score in chosen]
        return replace(decision, evidence=evidence, votes=proposed, chosen=[*first, *behind], tail=tail, dropped=dropped)

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

    def _votes(self, evidence: Mapping[str, Sequence[Evidence]], decision: Decision, chosen: frozenset[str]) -> tuple[Votes, int]:
        """What each source proposes of what the query allows and the person has not had, weighted; and how much they have had.

        What is described alike has a voice where nothing else personal has one.
        """
        query, interests = decision.query, decision.interests
        allowed = None if query.candidates is None else frozenset(query.candidates)
        limit = POOL + query.k
        proposed: Votes = {}
        dropped = 0
        for name, pieces in evidence.items():
            scores = total(pieces)
            dropped += sum(scores.pop(item, None) is not None for item in interests.seen)
            scores = {item: score for item, score in scores.items() if item not in chosen and (allowed is None or item in allowed)}
            proposed[name] = votes(ranked(scores, limit), WEIGHTS[name])
        out = interests.seen | chosen
        if not any(proposed.values()):
            alike = (item for item in decision.alike if item not in out and (allowed is None or item in allowed))
            proposed["content"] = votes(list(islice(alike, limit)), WEIGHTS["content"])
        popular = dict.fromkeys([*decision.here, *self._lists.overall().best])
        trending = (item for item in popular if item not in out and (allowed is None or item in allowed))
        proposed["trending"] = votes(list(islice(trending, limit)), WEIGHTS["trending"])
        return proposed, dropped

    def _filler(self, proposed: Votes, query: RecommendationQuery, out: frozenset[str]) -> dict[str, float]:
        """The last resort: what was asked for, or the newest of the catalogue; only what no other source proposes."""
        rest = self._shelf.newest if query.candidates is None else dict.fromkeys(query.candidates)
        known = out.union(*proposed.values())
        return votes([item for item in rest if item not in known], WEIGHTS["catalogue"])

    def _available(self, best_first: Iterator[tuple[str, float]], k: int) -> tuple[list[tuple[str, float]], int]:
        """The best k that may be shown, and how many better ones may not."""
        chosen: list[tuple[str, float]] = []
        unavailable = 0
        for item, score in best_first:
            if len(chosen) == k:
                break
            if self._shelf.may_show(item):
                chosen.append((item, score))
            else:
                unavailable += 1
        return chosen, unavailable

    def _degraded(self, decision: Decision, reads: Reads) -> str | None:
        """The first of the reasons, from the most serious, why the answer is not fully personal."""
        query, state, proposed = decision.query, decision.state, decision.votes
        known = state is not None and bool(state.newest)
        blended = decision.blended
        personal = bool((blended and blended.personal) or any(proposed.get(name) for name in _PERSONAL))
        nothing_known = (
            not personal and not (blended and blended.scores) and not proposed.get("trending") and not self._lists.overall().best
        )
        reasons = {
            "store_unavailable": reads.failed or not self._store.answers,
            "no_events": nothing_known and not known,
            "anonymous": query.user_id is None and not query.recent_items,
            "unknown_user": query.user_id is not None and not known,
            "no_similar_items": not personal,
            "catalogue_unavailable": self._shelf.missing,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def _led_by(proposed: Votes, item: str) -> str:
    """The source that adds most to an item."""
    return next(iter(contributions(proposed, item)))
