"""How good the models are, live."""

from __future__ import annotations

from fastapi import APIRouter

from serving.answers import Scoreboard
from serving.dependencies import Served
from serving.http_json import Json

router = APIRouter(tags=["models"])


@router.get("/v1/scoreboard", response_model=Scoreboard)
async def scoreboard(services: Served) -> Json:
    """Recall, NDCG, MRR, coverage and popularity of every model and of the blend, each event ranked before it is learnt."""
    return Json(await services.scoreboard.read())
