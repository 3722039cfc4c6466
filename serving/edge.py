"""Around every request: its size is bounded, its time is measured, its answer has the headers that keep browsers safe.

Plain ASGI: BaseHTTPMiddleware would cost a task a request.
"""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.headers import security_headers
from serving.http_json import ProblemJson
from serving.metrics import Metrics
from serving.problems import problem

MAX_BODY_BYTES: Final = 1 << 20
MAX_ADDRESS_BYTES: Final = 1 << 15  # path and query as they come: a filter of 2,000 characters may need 24,000
MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 1 << 15
_TOO_LARGE: Final = f"the body is larger than {MAX_BODY_BYTES} bytes"
_TOO_LONG: Final = f"path and query are longer than {MAX_ADDRESS_BYTES} bytes"
_TOO_MANY: Final = f"there are more than {MAX_HEADERS} headers, or they are longer than {MAX_HEADER_BYTES} bytes"
_DIGITS: Final = 18  # of a length that Python may still be asked to turn into a number


class Edge:
    """Refuses what is too large (addresses, headers, bodies declared or streamed), counts and times requests by route.

    Args:
        app: what answers the requests.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *security_headers(scope["path"])]
            await send(message)

        try:
            await (_too_large(scope) or self._app)(scope, _bounded(receive), noting_status)
        finally:
            self._note(scope, status, perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", "unmatched")
        self._metrics.requests.labels(route, _method(scope), status).inc()
        self._metrics.latency.labels(route).observe(seconds)


def _method(scope: Scope) -> str:
    """The method, if it is one of the usual: others are invented by clients and would each make a new time series."""
    method: str = scope["method"]
    return method if method in {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"} else "other"


def _too_large(scope: Scope) -> ProblemJson | None:
    """The answer to a request that says at once that it is too large."""
    if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
        return problem(HTTPStatus.REQUEST_URI_TOO_LONG, _TOO_LONG)
    length = declared = 0
    for name, value in scope["headers"]:
        length += len(name) + len(value)
        if name == b"content-length" and value.isdigit():
            declared = int(value) if len(value) <= _DIGITS else MAX_BODY_BYTES + 1
    if length > MAX_HEADER_BYTES or len(scope["headers"]) > MAX_HEADERS:
        return problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_MANY)
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE) if declared > MAX_BODY_BYTES else None


def _bounded(receive: Receive) -> Receive:
    taken = 0

    async def counting() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        return message

    return counting
