"""Events over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request

from schemas.errors import InvalidInput
from serving.answers import Intake
from serving.dependencies import Served
from serving.http_json import Json
from serving.intake import MAX_EVENTS, events_in, to_records
from serving.problems import InvalidRequest

router = APIRouter(tags=["events"])

_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["user_id"],
    "properties": {
        "topic": {"enum": ["views", "clicks", "feedback", "impressions"]},
        "type": {"enum": ["view", "click", "like", "dislike", "rating", "add_to_cart", "purchase", "hide", "impression"]},
        "event_id": {"type": "string", "description": "makes the event count once, however often it is sent within 24 h"},
        "user_id": {"type": "string"},
        "item_id": {"type": "string"},
        "timestamp": {"description": "RFC 3339 with zone, or epoch milliseconds; default: now", "type": ["string", "integer"]},
    },
}
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {"application/json": {"schema": {"oneOf": [_EVENT, {"type": "array", "maxItems": MAX_EVENTS, "items": _EVENT}]}}},
}


@router.post(
    "/v1/events", status_code=HTTPStatus.ACCEPTED, response_model=Intake, openapi_extra={"requestBody": _BODY},
    responses={503: {"description": "Kafka did not acknowledge in time; send the same events again"}},
)  # fmt: skip
async def take_events(request: Request, services: Served) -> Json:
    """Take one event or a list of up to 1,000. Answered once Kafka has acknowledged all that are accepted."""
    try:
        events = events_in(await request.body())
    except InvalidInput as error:
        raise InvalidRequest("body", str(error)) from error
    records, rejected = to_records(events, services.clock(), services.limits, services.new_id)
    if records:
        await services.log.append(records)
    services.metrics.events.labels("accepted").inc(len(records))
    services.metrics.events.labels("rejected").inc(len(rejected))
    return Json({"accepted": len(records), "rejected": rejected}, HTTPStatus.ACCEPTED)
