"""Recommendations."""

from __future__ import annotations

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query
from fastapi.openapi.models import Example

from schemas.ids import Id
from serving.answers import Recommendations
from serving.dependencies import Served
from serving.http_json import Json
from serving.plain_query import quick_route
from serving.plan import plan_of
from serving.presentation import impression, recommendations, viewer
from serving.query import K, RecommendationQuery, Surface, UserId
from serving.services import Services
from serving.surfaces import Filter, Share

FILTERS: Final[dict[str, Example]] = {
    "cheap and new to the person": {"value": 'price < 20 and "comedy" in categories and not seen'},
    "of one maker, this month": {"value": 'attributes.brand in ["Acme", "Other"] and age_days < 30'},
}


async def _answer(services: Services, query: RecommendationQuery) -> Json:
    request_id, surfaces, metrics = services.new_id(), services.surfaces.current, services.metrics
    decision = await services.recommender.recommend(query, plan_of(query, surfaces, request_id, services.clock()))
    now_ms = services.clock()
    answer = recommendations(decision, services.shelf, request_id, now_ms)
    metrics.note_list(decision.round_trips, decision.degraded)
    if decision.state and decision.state.newest:
        metrics.effect.observe(decision.state.effect_ms / 1000)
    if answer["items"]:
        if surfaces.samples:
            services.recommender.steering.shown.note(item["item_id"] for item in answer["items"])
        services.impressions.add(viewer(decision, answer), orjson.dumps(impression(decision, answer, now_ms)))
    services.decisions.add(decision, answer, viewer(decision, answer), now_ms)
    return Json(answer)


router = APIRouter(tags=["recommendations"])


async def recommend_to_user(
    services: Served,
    user_id: UserId,
    k: K = 10,
    session_id: Annotated[Id | None, Query()] = None,
    surface: Annotated[Surface | None, Query()] = None,
    filter: Annotated[Filter | None, Query(openapi_examples=FILTERS)] = None,  # noqa: A002 - the contract's name
    diversity: Annotated[Share | None, Query(examples=[0.3])] = None,
    explore: Annotated[Share | None, Query(examples=[0.1])] = None,
    explain: bool = False,
) -> Json:
    """What to show a user next, with reasons. `filter`, `diversity` and `explore` are told of in docs/serving.md."""
    query = RecommendationQuery(
        user_id=user_id, k=k, session_id=session_id, surface=surface, filter=filter, diversity=diversity, explore=explore,
        explain=explain,
    )  # fmt: skip
    return await _answer(services, query)


router.add_api_route(
    "/v1/users/{user_id:any}/recommendations", recommend_to_user, methods=["GET"], response_model=Recommendations,
    route_class_override=quick_route(_answer),
)  # fmt: skip


@router.post("/v1/recommendations", response_model=Recommendations)
async def recommend(services: Served, query: RecommendationQuery) -> Json:
    """The same as a body; also for anonymous visitors, from given candidates only, and with constraints that give way."""
    return await _answer(services, query)
