"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from schemas.errors import KafkaUnavailable, StoreUnavailable
from serving.access.headers import security_headers_as_text
from serving.http_json import ProblemJson

log = logging.getLogger(__name__)

INVALID_REQUEST: Final = "urn:freshet:problem:invalid-request"
_RETRY_AFTER: Final = {"Retry-After": "1"}

_TEXT: Final = {"type": "string"}
_FAULTS: Final = {"type": "array", "items": {"type": "object", "properties": {"field": _TEXT, "message": _TEXT}}}
_PROBLEM: Final = {
    "type": "object",
    "properties": {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "errors": _FAULTS},
}

DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": about, "content": {"application/problem+json": {"schema": _PROBLEM}}}
    for status, about in (
        (413, "The body is too large"),
        (414, "The address is too long"),
        (422, "The request is not valid"),
        (431, "The headers are too large, or too many"),
    )
}
"""How any call may be refused."""


class InvalidRequest(HTTPException):
    """A request that parses but makes no sense; answered as 422 that names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {message}")
        self.errors = [{"field": field, "message": message}]


def problem(
    status: int,
    detail: str,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> ProblemJson:
    """A problem document.

    Args:
        status: HTTP status.
        detail: one sentence for a person.
        errors: offending fields with messages.
        headers: further headers.
    """
    document: dict[str, Any] = {
        "type": INVALID_REQUEST if errors else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = list(errors)
    return ProblemJson(document, status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(KafkaUnavailable, _kafka_gone)
    app.add_exception_handler(StoreUnavailable, _store_gone)
    app.add_exception_handler(Exception, _unexpected)


# Starlette hands every handler an Exception, of the class that it was installed for.


async def _http(_: Request, raised: Exception) -> ProblemJson:
    error = cast(HTTPException, raised)
    if isinstance(error.__cause__, UnicodeDecodeError):  # FastAPI's 400; a body that is UTF-8 and no JSON is answered with 422
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "body: not UTF-8", [{"field": "body", "message": "not UTF-8"}])
    return problem(error.status_code, str(error.detail), getattr(error, "errors", ()), error.headers)


async def _invalid(_: Request, raised: Exception) -> ProblemJson:
    error = cast(RequestValidationError, raised)
    errors = [{"field": _field(fault["loc"]), "message": str(fault["msg"])} for fault in error.errors()]
    detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in errors[:4])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors)


async def _kafka_gone(_: Request, error: Exception) -> ProblemJson:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}; send the same events again", headers=_RETRY_AFTER)


async def _store_gone(_: Request, error: Exception) -> ProblemJson:
    log.warning("a request could not do without the store: %s", error)
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the feature store does not answer; ask again", headers=_RETRY_AFTER)


async def _unexpected(request: Request, error: Exception) -> ProblemJson:
    """Nothing should get here; Starlette raises the error again after this answer, so the server logs where it came from."""
    route = getattr(request.scope.get("route"), "path_format", "unmatched")  # not the path: it may hold a user's id
    log.error("%s %s failed: %s", request.method, route, type(error).__name__)
    detail = "an error in Freshet; its log says more"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, headers=security_headers_as_text())  # made outside of the edge


def _field(location: Sequence[Any]) -> str:
    """`candidates.3` for ("body", "candidates", 3): where the value stood, without the part of the request."""
    return ".".join(map(str, location[1:] or location))
