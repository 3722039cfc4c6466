"""Recommendations."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query

from schemas.ids import Id
from serving.answers import Recommendations
from serving.dependencies import Served
from serving.http_json import Json
from serving.presentation import impression, recommendations, viewer
from serving.query import K, RecommendationQuery, Surface, UserId
from serving.services import Services

router = APIRouter(tags=["recommendations"])


@router.get("/v1/users/{user_id:any}/recommendations", response_model=Recommendations)
async def recommend_to_user(
    services: Served,
    user_id: UserId,
    k: K = 10,
    session_id: Annotated[Id | None, Query()] = None,
    surface: Annotated[Surface | None, Query()] = None,
    explain: bool = False,
) -> Json:
    """What to show a user next, with reasons."""
    return await _answer(
        services, RecommendationQuery(user_id=user_id, k=k, session_id=session_id, surface=surface, explain=explain)
    )


@router.post("/v1/recommendations", response_model=Recommendations)
async def recommend(services: Served, query: RecommendationQuery) -> Json:
    """The same as a body; also for anonymous visitors, and from given candidates only."""
    return await _answer(services, query)


async def _answer(services: Services, query: RecommendationQuery) -> Json:
    decision = await services.recommender.recommend(query)
    now_ms = services.clock()
    answer = recommendations(decision, services.shelf, services.new_id(), now_ms)
    metrics = services.metrics
    metrics.round_trips.observe(decision.round_trips)
    if decision.degraded:
        metrics.degraded.labels(decision.degraded).inc()
    if decision.state and decision.state.newest:
        metrics.effect.observe(decision.state.effect_ms / 1000)
    if answer["items"]:
        services.impressions.add(viewer(decision, answer), orjson.dumps(impression(decision, answer, now_ms)))
    return Json(answer)
