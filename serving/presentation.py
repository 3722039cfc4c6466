"""From a decision to what is answered and what is logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.timestamps import format_timestamp
from serving.answers import Freshness, Models, Recommendations, RecommendedItem
from serving.blend_features import digest, logged
from serving.blended import Blended
from serving.decision import Decision
from serving.ranking.evidence import strongest
from serving.ranking.fusion import NAME, WEIGHTS, contributions
from serving.ranking.reasons import (
    ASKED_FOR,
    FROM_CATALOGUE,
    LIKE_LATELY,
    PINNED,
    POPULAR,
    TASTE,
    because,
    popular_in,
    popular_where,
    shares,
    similar_to,
    suggested_by,
)
from serving.sessions import visitor
from serving.shelf import Shelf
from serving.situation import contexts_of

NEARLINE: Final = "covisitation-1+affinity-1+content-1+trending-1"
MODELS: Final[Models] = {"nearline": NEARLINE, "batch": None, "blend": NAME}
NO_FRESHNESS: Final[Freshness] = {"newest_event_at": None, "age_ms": None, "event_to_effect_ms": None}


def freshness(newest: int, effect_ms: int, now_ms: int) -> Freshness:
    """How old the newest signal is.

    Args:
        newest: its event time, ms; 0: there is none.
        effect_ms: how long it took from the log to the store.
        now_ms: the moment of the answer.
    """
    if not newest:
        return NO_FRESHNESS
    return {
        "newest_event_at": format_timestamp(newest),
        "age_ms": max(0, now_ms - newest),
        "event_to_effect_ms": effect_ms,
    }


def recommendations(decision: Decision, shelf: Shelf, request_id: str, now_ms: int) -> Recommendations:
    """The answer to the client."""
    state = decision.state
    answer: Recommendations = {
        "request_id": request_id,
        "user_id": decision.query.user_id,
        "items": [_item(decision, shelf, rank, item, score) for rank, (item, score) in enumerate(decision.chosen, 1)],
        "models": _models(decision),
        "freshness": freshness(state.newest, state.effect_ms, now_ms) if state else NO_FRESHNESS,
        "experiment": None,
        "degraded": decision.degraded,
    }
    if decision.plan.constraints:
        answer["relaxed"] = list(decision.relaxed)
    if decision.query.explain:
        answer["explanation"] = _explanation(decision)
    return answer


def listed(shelf: Shelf, rank: int, item: str, score: float, source: str, reason: str) -> RecommendedItem:
    """One place of a list that has a single source."""
    return _titled({"item_id": item, "rank": rank, "score": score, "sources": {source: score}, "reason": reason}, shelf)


def impression(decision: Decision, answer: Recommendations, now_ms: int) -> dict[str, Any]:
    """The value for topic `impressions`. Positions start at 0. A visitor without an id gets one that is used only here."""
    query = decision.query
    surface = {"surface": query.surface} if query.surface else {}
    features = logged(decision)
    named = {"feature_names": digest(decision.blended.proposal.names)} if features and decision.blended else {}
    return {
        "request_id": answer["request_id"],
        "user_id": viewer(decision, answer),
        "timestamp": now_ms,
        "items": [_shown(decision, at, item, features) for at, item in enumerate(answer["items"])],
        "context": {**query.context, **surface},
        **named,
    }


def _shown(decision: Decision, at: int, item: RecommendedItem, features: Mapping[str, str]) -> dict[str, Any]:
    """One place of an impression, with propensities where there was chance in the list, and features where they are logged."""
    place = {"item_id": item["item_id"], "position": at, "score": item["score"], "source": next(iter(item["sources"]))}
    likely = decision.propensities.get(item["item_id"])
    if likely is not None:
        place |= {"propensity": likely.inclusion} | ({"first_propensity": likely.first} if likely.first is not None else {})
    if item["item_id"] in features:
        place["features"] = features[item["item_id"]]
    return place


def viewer(decision: Decision, answer: Recommendations) -> str:
    """Who saw the slate: the user, or who it is by the session, or `anonymous:` and the request's id."""
    return visitor(decision.query.user_id, decision.query.session_id) or f"anonymous:{answer['request_id']}"


def _models(decision: Decision) -> Models:
    """The online blend, if any place of the list is its doing; else the fixed one."""
    blended = decision.blended
    if blended is None or not any(item in blended or item in decision.here for item, _ in decision.chosen):
        return MODELS
    return models_of(blended)


def models_of(blended: Blended | None) -> Models:
    """What made a list that is the online blend's doing, or the fixed one's."""
    if blended is None:
        return MODELS
    models: Models = {"nearline": blended.nearline, "batch": blended.batch, "blend": blended.blend}
    return {**models, "ranker": blended.ranker} if blended.ranker else models


def _item(decision: Decision, shelf: Shelf, rank: int, item: str, score: float) -> RecommendedItem:
    if item in decision.pinned:
        sources, reason = {"pinned": score}, PINNED
    elif item in decision.newcomers:
        sources, reason = {"content": decision.alike[item]}, _content_reason(decision, shelf, item)
    elif decision.blended is not None and item in decision.here and item not in decision.votes.get("trending", ()):
        sources = _with_context(decision, decision.blended, item)
        reason = popular_where(contexts_of(decision.query.context))
    elif decision.blended is not None and item in decision.blended:
        sources = decision.blended.sources(item)
        own = _suggested(decision, sources)
        reason = own or _blended_reason(decision, decision.blended, shelf, next(iter(sources)), item)
    else:
        sources = {name: part * decision.tail for name, part in contributions(decision.votes, item).items()}
        reason = _suggested(decision, sources) or _reason(decision, shelf, next(iter(sources)), item)
    if decision.blended is not None and item in decision.blended:
        sources = {**sources, **decision.blended.places(item)}
    place = _titled({"item_id": item, "rank": rank, "score": score, "sources": sources, "reason": reason}, shelf)
    if item in decision.propensities:
        place["propensity"] = decision.propensities[item].inclusion
    return place


def _suggested(decision: Decision, sources: Mapping[str, float]) -> str | None:
    """What a product team's own source goes by, where it says most for the item."""
    first = next(iter(sources))
    return suggested_by(first) if first in decision.given else None


def _titled(item: RecommendedItem, shelf: Shelf) -> RecommendedItem:
    title = shelf.title(item["item_id"])
    if title is not None:
        item["title"] = title
    return item


def _reason(decision: Decision, shelf: Shelf, source: str, item: str) -> str:
    """What the source that contributed most goes by."""
    if source == "trending":
        return popular_where(contexts_of(decision.query.context)) if item in decision.here else POPULAR
    if source == "content":
        return _content_reason(decision, shelf, item)
    if source == "catalogue":
        return FROM_CATALOGUE if decision.query.candidates is None else ASKED_FOR
    name = strongest(decision.evidence[source], item) or ""
    if source == "affinity":
        return popular_in(name)
    if name == decision.interests.page:
        return similar_to(shelf.name(name))
    return because(shelf.name(name), decision.interests.seeds[name])


def _content_reason(decision: Decision, shelf: Shelf, item: str) -> str:
    """What the item shares with something that the person took."""
    likeness = decision.likeness[item]
    return shares(likeness.shared, shelf.name(likeness.seed)) if likeness else FROM_CATALOGUE


def _with_context(decision: Decision, blended: Blended, item: str) -> dict[str, float]:
    """What the sources say for an item that is popular where somebody is, largest first."""
    said = {"context": decision.here[item]} | (blended.sources(item) if item in blended else {})
    return dict(sorted(said.items(), key=lambda pair: -pair[1]))


def _blended_reason(decision: Decision, blended: Blended, shelf: Shelf, source: str, item: str) -> str:
    """What the source that put the item highest goes by.

    Only the pairs of the co-visitation tell one past item. Sources that know nothing of the person rank by popularity.
    """
    seed = decision.led_by.get(item)
    if source.startswith("popularity"):
        return POPULAR
    if seed is not None and seed == decision.interests.page:
        return similar_to(shelf.name(seed))
    if seed is not None:
        return because(shelf.name(seed), decision.interests.seeds.get(seed))
    if blended.personal and (source == "item_vectors" or source in blended.published):
        return LIKE_LATELY
    return TASTE if source == "softmax_mf" and blended.remembered else POPULAR


def _explanation(decision: Decision) -> dict[str, Any]:
    told: dict[str, Any] = {
        "seeds": list(decision.interests.seeds),
        "categories": [piece.name for piece in decision.evidence.get("affinity", ())],
        "candidates": {source: len(part) for source, part in decision.votes.items()},
        "dropped": dict(decision.dropped),
        "newcomers": sorted(decision.newcomers),
        "weights": WEIGHTS,
        "store_round_trips": decision.round_trips,
    }
    if not decision.plan.plain:
        told["weights"] = decision.plan.weights
        told["surface"] = {
            "name": decision.plan.name, "diversity": decision.plan.diversity, "explore": decision.plan.explore,
            "constraints": [name for name, _ in decision.plan.constraints], "relaxed": list(decision.relaxed),
            "pinned": sorted(decision.pinned),
        }  # fmt: skip
    if decision.given:
        told["own_sources"] = {name: {"items": len(one.items), "failure": one.failure} for name, one in decision.given.items()}
    if decision.blended is not None:
        told["blend"] = {"candidates": len(decision.blended.scores), "proposed": decision.blended.counts()}
    return told
