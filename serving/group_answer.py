"""From the decision for a group to what is answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from serving.answers import GroupMember, GroupRecommendations, Models, RecommendedItem
from serving.decision import Decision
from serving.groups import GroupDecision
from serving.presentation import MODELS, freshness
from serving.query import RecommendationQuery
from serving.ranking.groups import Strategy
from serving.ranking.reasons import PINNED
from serving.shelf import Shelf


def group_answer(decision: GroupDecision, shelf: Shelf, request_id: str, now_ms: int) -> GroupRecommendations:
    """The answer to the client."""
    items = [_item(decision, shelf, rank, item, score) for rank, (item, score) in enumerate(decision.chosen, 1)]
    newest, effect_ms = decision.newest
    answer: GroupRecommendations = {
        "request_id": request_id,
        "user_id": None,
        "strategy": decision.query.strategy,
        "items": items,
        "members": [_member(decision, at, items, now_ms) for at in range(len(decision.members))],
        "models": _models(decision),
        "freshness": freshness(newest, effect_ms, now_ms),
        "experiment": None,
        "degraded": decision.degraded,
    }
    if decision.plan.constraints:
        answer["relaxed"] = list(decision.relaxed)
    if decision.query.explain:
        answer["explanation"] = _explanation(decision)
    return answer


def slate(decision: GroupDecision, request_id: str) -> Decision:
    """The same as the decision for one viewer, `group:` and the request's id: a list is shown once, to however many people."""
    query = decision.query
    viewed = RecommendationQuery(user_id=f"group:{request_id}", k=query.k, surface=query.surface, context=query.context)
    return Decision(viewed, decision.members[0].own.interests, decision.plan, propensities=decision.propensities)


def told(places: Sequence[float], k: int, strategy: Strategy) -> str:
    """Why an item is in the list of a group, by its place among the candidates for each member. Nobody's past is named: it is
    theirs, and the others read this.

    >>> told([1.0, 7.0], 10, "average"), told([1.0, 70.0], 10, "average")
    ('among the first 10 for everybody', 'among the first 10 for 1 of 2')
    >>> told([31.0, 44.5], 10, "least_misery"), told([31.0, 44.5], 10, "average")
    ('at place 45 or better for everybody', 'at place 38 on average')
    """
    inside = sum(place <= k for place in places)
    if inside == len(places):
        return f"among the first {k} for everybody"
    if inside:
        return f"among the first {k} for {inside} of {len(places)}"
    if strategy == "least_misery":
        return f"at place {math.ceil(max(places))} or better for everybody"
    if strategy == "most_pleasure":
        return f"at place {math.ceil(min(places))} for one of {len(places)}"
    return f"at place {math.ceil(sum(places) / len(places))} on average"


def _item(decision: GroupDecision, shelf: Shelf, rank: int, item: str, score: float) -> RecommendedItem:
    column = decision.columns.get(item)
    place: RecommendedItem = {
        "item_id": item, "rank": rank, "score": score, "sources": _sources(decision, item), "reason": PINNED,
    }  # fmt: skip
    if column is not None:
        place["satisfaction"] = dict(zip(decision.query.user_ids, decision.gains[:, column].tolist(), strict=True))
    if item in decision.pinned:
        place["sources"] = {"pinned": score}
    elif column is not None:
        place["reason"] = told(decision.places[:, column].tolist(), decision.query.k, decision.query.strategy)
    title = shelf.title(item)
    if title is not None:
        place["title"] = title
    if item in decision.propensities:
        place["propensity"] = decision.propensities[item].inclusion
    return place


def _sources(decision: GroupDecision, item: str) -> dict[str, float]:
    """What each source says for the item, the mean over the members, largest first."""
    parts: dict[str, list[float]] = {}
    for member in decision.members:
        for name, part in member.said(item).items():
            parts.setdefault(name, []).append(part)
    means = {name: math.fsum(part) / len(decision.members) for name, part in parts.items()}
    return dict(sorted(means.items(), key=lambda pair: (-pair[1], pair[0]))) or {"catalogue": 0.0}


def _member(decision: GroupDecision, at: int, items: Sequence[RecommendedItem], now_ms: int) -> GroupMember:
    user_id, state = decision.query.user_ids[at], decision.members[at].state
    gains = [item["satisfaction"][user_id] for item in items if item.get("satisfaction")]
    return {
        "user_id": user_id,
        "known": state is not None,
        "satisfaction": math.fsum(gains) / len(gains) if gains else 0.0,
        "freshness": freshness(state.newest, state.effect_ms, now_ms) if state else freshness(0, 0, now_ms),
    }


def _models(decision: GroupDecision) -> Models:
    """The online blend, if any place of the list is its doing for anybody; else the fixed one."""
    for blended in (member.own.blended for member in decision.members):
        if blended is not None and any(item in blended for item, _ in decision.chosen):
            return {"nearline": blended.nearline, "batch": blended.batch, "blend": blended.blend}
    return MODELS


def _explanation(decision: GroupDecision) -> dict[str, Any]:
    return {
        "candidates": len(decision.columns),
        "places": {
            item: dict(zip(decision.query.user_ids, decision.places[:, decision.columns[item]].tolist(), strict=True))
            for item, _ in decision.chosen
            if item in decision.columns
        },
        "surface": {"name": decision.plan.name, "relaxed": list(decision.relaxed), "pinned": sorted(decision.pinned)},
        "store_round_trips": decision.round_trips,
    }
