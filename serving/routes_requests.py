"""What requests decided, and why."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.exceptions import HTTPException

from schemas.ids import Id
from serving.decision_record import Record
from serving.dependencies import Served
from serving.explanations import RequestPage, Why
from serving.http_json import Json
from serving.services import Services

router = APIRouter(
    tags=["explanations"],
    responses={
        404: {"description": "no request with this id is kept (any longer)"},
        503: {"description": "the store does not answer; ask again"},
    },
)
RequestId = Annotated[str, Path(pattern="^[0-9A-HJKMNP-TV-Z]{26}$", description="`request_id` of an answer")]


@router.get("/v1/requests/{request_id}", response_model=RequestPage)
async def request(services: Served, request_id: RequestId) -> Json:
    """Everything that one list was made of: candidates, what each source said, scores, filters, history, models.

    Features of the candidates are there for requests with `explain=true`.
    """
    return Json(services.inspector.page(await _kept(services, request_id)))


@router.get("/v1/requests/{request_id}/why", response_model=Why)
async def why(services: Served, request_id: RequestId, item_id: Annotated[Id, Query()]) -> Json:
    """Why that item is in the list, and which past item, removed, would take it away; or why it is not there."""
    return Json(await services.inspector.why(await _kept(services, request_id), item_id))


async def _kept(services: Services, request_id: str) -> Record:
    record = await services.decisions.find(request_id)
    if record is not None:
        return record
    hours, room = services.settings.decision_log_hours, services.settings.decision_log_mb
    bounds = f"decisions are kept for {hours:g} h at most, in {room} MB" if services.decisions.kept else "no decisions are kept"
    raise HTTPException(HTTPStatus.NOT_FOUND, f"nothing is known of request {request_id}: {bounds}")
