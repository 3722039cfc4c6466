"""Around every request: its size is bounded, its time is measured. Plain ASGI: BaseHTTPMiddleware would cost a task a request."""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics
from serving.problems import problem

MAX_BODY_BYTES: Final = 1 << 20
_TOO_LARGE: Final = f"the body is larger than {MAX_BODY_BYTES} bytes"


class Edge:
    """Refuses bodies that are too large (declared or streamed), counts and times requests by route.

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
            status = message.get("status", status)
            await send(message)

        try:
            if _declared_length(scope) > MAX_BODY_BYTES:
                await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)(scope, receive, noting_status)
            else:
                await self._app(scope, _bounded(receive), noting_status)
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


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


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
