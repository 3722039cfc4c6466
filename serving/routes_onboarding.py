"""What to ask somebody new."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from serving.answers import Onboarding
from serving.dependencies import Served
from serving.http_json import Json
from serving.onboarding import MOST_QUESTIONS

router = APIRouter(tags=["recommendations"])
Questions = Annotated[int, Query(ge=1, le=MOST_QUESTIONS, description="how many items, 1 to 50")]


@router.get("/v1/onboarding", response_model=Onboarding)
async def onboarding(services: Served, k: Questions = 10) -> Json:
    """Items that tell most about a person who has done nothing yet. What they like goes to `POST /v1/events` (docs/visitors.md)."""
    return Json(services.onboarding.answer(k))
