"""Given items, put in order."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Body
from fastapi.openapi.models import Example

from serving.answers import Ranking
from serving.dependencies import Served
from serving.http_json import Json
from serving.presentation import freshness, models_of
from serving.ranker import RankQuery

router = APIRouter(tags=["recommendations"])
EXAMPLES: Final[dict[str, Example]] = {"search results for a person": {"value": {"user_id": "42", "items": ["2", "7", "3"]}}}


@router.post("/v1/rank", response_model=Ranking)
async def rank(services: Served, query: Annotated[RankQuery, Body(openapi_examples=EXAMPLES)]) -> Json:
    """The given items in the order in which this person would want them, all of them: for search results, carousels, newsletters.

    Scores are the blend's probabilities among the given items. Nothing is filtered and nothing is logged as shown.
    """
    ranked = await services.ranker.rank(query)
    state = ranked.decision.state
    services.metrics.note_list(ranked.round_trips, ranked.degraded)
    return Json(
        {
            "user_id": query.user_id,
            "items": [{"item_id": item, "rank": n, "score": score} for n, (item, score) in enumerate(ranked.order, 1)],
            "models": models_of(ranked.decision.blended),
            "freshness": freshness(state.newest if state else 0, state.effect_ms if state else 0, services.clock()),
            "degraded": ranked.degraded,
        }
    )
