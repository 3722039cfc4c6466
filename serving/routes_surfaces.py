"""Surfaces: what a changed file would do, without doing it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import Preview, Recommendations
from serving.dependencies import Served
from serving.http_json import Json
from serving.plan import plan_of
from serving.presentation import recommendations
from serving.problems import InvalidRequest
from serving.query import RecommendationQuery
from serving.services import Services
from serving.surface_file import InvalidSurfaces, parse_surfaces
from serving.surfaces import Surfaces

router = APIRouter(tags=["recommendations"])
_YAML: Final = "surfaces:\n  home:\n    filter: price < 20\n    diversity: {method: mmr, default: 0.3}\n    caps: {each: 3}\n"
EXAMPLES: Final[dict[str, Example]] = {
    "a home page": {"value": {"surfaces": _YAML, "query": {"user_id": "42", "surface": "home", "k": 10}}}
}


class Trial(BaseModel):
    """A surfaces file as text, and a request to try it on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    surfaces: str = Field(description="the YAML text of the whole file, see docs/serving.md")
    query: RecommendationQuery = Field(description="as the body of POST /v1/recommendations")


@router.post("/v1/surfaces/preview", response_model=Preview)
async def preview(services: Served, trial: Annotated[Trial, Body(openapi_examples=EXAMPLES)]) -> Json:
    """What this file would recommend beside what is served now. Nothing is put in force, logged as shown, or counted as shown."""
    tried = await asyncio.to_thread(_parsed, trial.surfaces)  # a large file takes longer than others should wait
    name, _ = tried.named(trial.query.surface)
    request_id = services.new_id()
    served = await _answer(services, trial.query, services.surfaces.current, request_id)
    would_be = await _answer(services, trial.query, tried, request_id)
    before, after = ([item["item_id"] for item in answer["items"]] for answer in (served, would_be))
    return Json(
        {
            "surface": name, "served": served, "preview": would_be, "entered": [item for item in after if item not in before],
            "left": [item for item in before if item not in after],
        }
    )  # fmt: skip


async def _answer(services: Services, query: RecommendationQuery, surfaces: Surfaces, request_id: str) -> Recommendations:
    now_ms = services.clock()
    decision = await services.recommender.recommend(query, plan_of(query, surfaces, request_id, now_ms))
    return recommendations(decision, services.shelf, request_id, now_ms)


def _parsed(text: str) -> Surfaces:
    try:
        return parse_surfaces(text)
    except InvalidSurfaces as error:
        refused = InvalidRequest("surfaces", str(error))
        refused.errors = [{"field": "surfaces", "message": str(fault)} for fault in error.faults]
        raise refused from error
