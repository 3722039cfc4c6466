"""From a query to a decision: one pipeline, at most two store round trips, an answer whatever is missing."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from feature_store.item_blob import Neighbours
from serving.blended import Blend, mixed
from serving.content_source import ContentSource, Likeness
from serving.decision import Decision, Votes
from serving.guarded_store import GuardedStore
from serving.hydration import Hydration
from serving.interests import Interests, interests_of
from serving.plan import Plan
from serving.query import RecommendationQuery
from serving.ranking.affinity import affinity, strongest_categories
from serving.ranking.covisitation import covisitation
from serving.ranking.evidence import Evidence, ranked, total
from serving.ranking.fusion import contributions, fuse, votes
from serving.ranking.newcomers import with_newcomers
from serving.reads import Reads
from serving.sessions import Known, identities, together
from serving.shelf import Shelf
from serving.situation import contexts_of
from serving.steering import Steering
from serving.trending_lists import TrendingLists

Pieces = Mapping[str, Sequence[Evidence]]

WHERE_THEY_ARE: Final = 2 / 3  # weight of what is popular in the request's contexts, for somebody of whom nothing else is known
POOL: Final = 100  # items that each source proposes, and as many more as the query wants
_ALIKE: Final = 500  # items looked through for those that nobody has taken yet
PERSONAL: Final = ("covisitation", "affinity", "content")


class Recommender:
    """Decides what to show. Everything it needs beyond two reads (one, where the blend is trained) is already in the process."""

    def __init__(self, store: GuardedStore, lists: TrendingLists, shelf: Shelf, blend: Blend, content: ContentSource) -> None:
        self._store = store
        self._lists = lists
        self._shelf = shelf
        self._blend = blend
        self._content = content
        self.hydration = Hydration(lists, blend.published)
        self.steering = Steering(shelf, lists)

    async def recommend(self, query: RecommendationQuery, plan: Plan | None = None) -> Decision:
        """Decide. Never fails for lack of a store, of models, of events or of a catalogue.

        Args:
            plan: how the list is made; None: nothing is steered.
        """
        plan = plan or Plan(query.k)
        reads = Reads(self._store)
        known = together(await self.hydration.people(identities(query.user_id, query.session_id), reads))
        interests = interests_of(query, known.state, plan.kept_away(known.state))
        decision = self._from_blend(await self.proposed(query, interests, plan, known))
        if not self.steering.enough(plan, known.state, decision.chosen):
            decision = await self._filled(decision, reads)
        decision = self._with_newcomers(decision) if plan.plain else await self._steered(decision, reads)
        likeness, led_by = self._reasons(decision)
        degraded = self._degraded(decision, reads)
        return replace(decision, likeness=likeness, led_by=led_by, degraded=degraded, round_trips=reads.round_trips)

    async def proposed(self, query: RecommendationQuery, interests: Interests, plan: Plan, known: Known) -> Decision:
        """What the models and the catalogue have for somebody; nothing is chosen yet.

        Args:
            known: what the store knows of the person, the same as `interests` are made of.
        """
        alike = self._content.candidates(interests.seeds, _ALIKE, interests.seen)
        here = {} if interests.seeds else self._blend.popular_where(contexts_of(query.context), POOL + query.k)
        asked = plan.surface.sources.blend
        blended = await self._blend.propose(query, interests, known.state, known.session) if asked else None
        if blended is not None and alike and not (blended.personal or blended.remembered):
            blended = None  # it knows nothing that they took: what is described like it says more
        return Decision(query, interests, plan, known.state, blended, alike=alike, here=here)

    def _from_blend(self, decision: Decision) -> Decision:
        """The decision with the blend's best that are asked for and may be shown, as many as the list is made of.

        For somebody of whom nothing is known, what is popular where they are counts as much as what the blend thinks.
        """
        blended, here, allowed = decision.blended, decision.here, decision.allowed
        if blended is None:
            return decision
        scores = mixed(blended.scores, here, WHERE_THEY_ARE) if here else blended.scores
        asked_for = ((item, score) for item, score in scores.items() if allowed is None or item in allowed)
        chosen, withheld = self._available(asked_for, decision.plan.wanted, decision)
        return replace(decision, chosen=chosen, withheld=withheld, dropped={"unavailable": len(withheld)})

    def _newcomers(self, decision: Decision, chosen: Container[str] = ()) -> Iterator[str]:
        """What is described like what the person took, may be shown and has no events yet, without what is chosen already."""
        allowed, may_show = decision.allowed, self.steering.gate(decision.plan, decision.state)
        fresh = self._blend.unheard_of(decision.alike)
        return (item for item in fresh if item not in chosen and (allowed is None or item in allowed) and may_show(item))

    def _with_newcomers(self, decision: Decision) -> Decision:
        """The decision with a few places for newcomers."""
        chosen = {item for item, _ in decision.chosen}
        places = with_newcomers(decision.chosen, self._newcomers(decision, chosen), decision.query.k)
        return replace(decision, chosen=places, newcomers=frozenset(item for item, _ in places) - chosen)

    async def _steered(self, decision: Decision, reads: Reads) -> Decision:
        """The decision with the list that its plan makes of the candidates."""
        wanted = decision.plan.surface.sources.newcomers
        found = await self.steering.steered(decision, self._newcomers(decision) if wanted else (), reads)
        return replace(decision, **found._asdict())

    def _reasons(self, decision: Decision) -> tuple[dict[str, Likeness | None], dict[str, str]]:
        """What those items that are here for their content have in common with something that the person took, and which past item
        speaks for each of the blend's.
        """
        voted, seeds = decision.votes.get("content", {}), list(decision.interests.seeds)
        alike = {item for item, _ in decision.chosen if item in voted and _led_by(decision.votes, item) == "content"}
        likeness = {item: self._content.likeness(item, seeds) for item in alike | decision.newcomers}
        led_by = decision.blended.seeds(item for item, _ in decision.chosen) if decision.blended else {}
        return likeness, led_by

    async def _filled(self, decision: Decision, reads: Reads) -> Decision:
        """The decision with the rest of the list from the fixed blend of other sources: all of it where there is no online one."""
        interests, first = decision.interests, decision.chosen
        neighbours = await self.hydration.neighbours(list(interests.seeds), reads)
        evidence, proposed, seen = self.voted(decision, neighbours)
        wanted = decision.plan.wanted - len(first)
        chosen, withheld = self._available(iter(fuse(proposed).items()), wanted, decision)
        if not self.steering.enough(decision.plan, decision.state, [*first, *chosen]):
            proposed["catalogue"] = self._filler(proposed, decision, interests.seen.union(item for item, _ in first))
            chosen, withheld = self._available(iter(fuse(proposed).items()), wanted, decision)
        tail = first[-1][1] if first else 1.0
        withheld = [*decision.withheld, *withheld]
        behind = [(item, tail * score) for item, score in chosen]
        return replace(
            decision, evidence=evidence, votes=proposed, chosen=[*first, *behind], tail=tail, withheld=withheld,
            dropped={"seen": seen, "unavailable": len(withheld)},
        )  # fmt: skip

    def voted(self, decision: Decision, neighbours: Sequence[tuple[str, Neighbours]]) -> tuple[Pieces, Votes, int]:
        """The fixed blend's evidence for one person, what it adds to the items that are not chosen yet, and how much of what it
        speaks for they have had.

        Args:
            neighbours: of those of the person's seeds that have any.
        """
        evidence = {"covisitation": covisitation(neighbours), "affinity": self._affinity(decision.interests)}
        return evidence, *self._votes(evidence, decision, frozenset(item for item, _ in decision.chosen))

    def _affinity(self, interests: Interests) -> list[Evidence]:
        shares = strongest_categories(interests.affinities)
        return affinity(shares, {name: self._lists.category(name).best for name in shares})

    def _votes(self, evidence: Mapping[str, Sequence[Evidence]], decision: Decision, chosen: frozenset[str]) -> tuple[Votes, int]:
        """What each source proposes of what the query allows and the person has not had, weighted; and how much they have had.

        What is described alike has a voice where nothing else personal has one.
        """
        interests, allowed, weights = decision.interests, decision.allowed, decision.plan.weights
        limit = POOL + decision.plan.reach
        proposed: Votes = {}
        dropped = 0
        for name, pieces in evidence.items():
            if not weights[name]:
                continue
            scores = total(pieces)
            dropped += sum(scores.pop(item, None) is not None for item in interests.seen)
            scores = {item: score for item, score in scores.items() if item not in chosen and (allowed is None or item in allowed)}
            proposed[name] = votes(ranked(scores, limit), weights[name])
        out = interests.seen | chosen
        if not any(proposed.values()) and weights["content"]:
            alike = (item for item in decision.alike if item not in out and (allowed is None or item in allowed))
            proposed["content"] = votes(list(islice(alike, limit)), weights["content"])
        popular = dict.fromkeys([*decision.here, *self._lists.overall().best] if weights["trending"] else ())
        trending = (item for item in popular if item not in out and (allowed is None or item in allowed))
        proposed["trending"] = votes(list(islice(trending, limit)), weights["trending"])
        return proposed, dropped

    def _filler(self, proposed: Votes, decision: Decision, out: frozenset[str]) -> dict[str, float]:
        """The last resort: what was asked for, or the newest of the catalogue; only what no other source proposes."""
        asked_for, weight = decision.query.candidates, decision.plan.weights["catalogue"]
        rest = self._shelf.newest if asked_for is None else dict.fromkeys(asked_for)
        known = out.union(*proposed.values())
        return votes([item for item in rest if item not in known], weight) if weight else {}

    def _available(
        self, best_first: Iterator[tuple[str, float]], k: int, decision: Decision
    ) -> tuple[list[tuple[str, float]], list[str]]:
        """The best k that may be shown, and the better ones that may not."""
        may_show = self.steering.gate(decision.plan, decision.state)
        chosen: list[tuple[str, float]] = []
        withheld: list[str] = []
        for item, score in best_first:
            if len(chosen) == k:
                break
            if may_show(item):
                chosen.append((item, score))
            else:
                withheld.append(item)
        return chosen, withheld

    def _degraded(self, decision: Decision, reads: Reads) -> str | None:
        """The first of the reasons, from the most serious, why the answer is not fully personal."""
        query, state, proposed = decision.query, decision.state, decision.votes
        known = state is not None and bool(state.newest)
        blended = decision.blended
        personal = bool((blended and blended.personal) or any(proposed.get(name) for name in PERSONAL))
        nothing_known = (
            not personal and not (blended and blended.scores) and not proposed.get("trending") and not self._lists.overall().best
        )
        reasons = {
            "store_unavailable": reads.failed or not self._store.answers,
            "no_events": nothing_known and not known,
            "anonymous": query.user_id is None and not query.recent_items and not known,
            "unknown_user": query.user_id is not None and not known,
            "no_similar_items": not personal,
            "catalogue_unavailable": self._shelf.missing,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def _led_by(proposed: Votes, item: str) -> str:
    """The source that adds most to an item."""
    return next(iter(contributions(proposed, item)))
