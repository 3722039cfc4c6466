"""One list for several people."""

from __future__ import annotations

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from serving.answers import GroupRecommendations
from serving.dependencies import Served
from serving.group_answer import group_answer, slate
from serving.group_query import GroupQuery
from serving.groups import GroupDecision
from serving.http_json import Json
from serving.plan import plan_of
from serving.presentation import impression, viewer
from serving.services import Services

router = APIRouter(tags=["recommendations"])
EXAMPLES: Final[dict[str, Example]] = {
    "a film for two": {"value": {"user_ids": ["42", "7"], "strategy": "least_misery", "k": 5}},
    "with a filter": {"value": {"user_ids": ["42", "7", "new"], "filter": '"Comedy" in categories and not seen'}},
}


@router.post("/v1/groups/recommendations", response_model=GroupRecommendations)
async def recommend_to_group(services: Served, query: Annotated[GroupQuery, Body(openapi_examples=EXAMPLES)]) -> Json:
    """What to show to several people at once. Strategies, and what `satisfaction` is: docs/visitors.md."""
    request_id, surfaces = services.new_id(), services.surfaces.current
    plan = plan_of(query.of(query.user_ids[0]), surfaces, request_id, services.clock())
    decision = await services.groups.recommend(query, plan)
    now_ms = services.clock()
    answer = group_answer(decision, services.shelf, request_id, now_ms)
    _note(services, decision, answer, now_ms)
    return Json(answer)


def _note(services: Services, decision: GroupDecision, answer: GroupRecommendations, now_ms: int) -> None:
    """Count the answer, and log what was shown."""
    services.metrics.note_list(decision.round_trips, decision.degraded)
    if not answer["items"]:
        return
    if services.surfaces.current.samples:
        services.recommender.steering.shown.note(item["item_id"] for item in answer["items"])
    viewed = slate(decision, answer["request_id"])
    services.impressions.add(viewer(viewed, answer), orjson.dumps(impression(viewed, answer, now_ms)))
