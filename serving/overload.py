"""What happens when more is asked than can be answered: as much as before is answered as quickly as before, the rest is refused.

Two lanes (`serving/lane.py`). Answers need this process's core, so only a few are made at the same time. Events hardly need it;
they wait for Kafka. They have many slots of their own and go on while answers are refused: a list that is not shown is asked for
again, an event that is not taken is a click that no model ever hears of. Health, metrics and documentation are in no lane.

A slot is held from when the whole request is there until the answer is ready to be sent, so nobody holds one by being slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.settings import Settings
from serving.lane import Lane
from serving.metrics import Metrics
from serving.problems import problem

ANSWERS: Final = "answers"
EVENTS: Final = "events"
Lanes = Mapping[str, Lane]

NEVER_REFUSED: Final = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"})
_EVENT_SLOTS: Final = 256  # bodies in memory while Kafka is slow: at most a quarter of a GB
_STANDING: Final = 0.1  # of the patience, once the queue does not empty
_DETAIL: Final = "more is asked than can be answered now: try again"


def lanes_of(settings: Settings) -> Lanes:
    """The lanes of one process."""
    patience = settings.queue_ms / 1000
    return {
        ANSWERS: Lane(settings.concurrency, patience, _STANDING * patience),
        EVENTS: Lane(_EVENT_SLOTS, patience, patience),
    }


class Overload:
    """Lets a request into its lane, or answers 503 before anything is done for it.

    Args:
        app: what is behind.
        lanes: by name.
        metrics: where refusals are counted.
    """

    def __init__(self, app: ASGIApp, lanes: Lanes, metrics: Metrics) -> None:
        self._app = app
        self._answers, self._events = lanes[ANSWERS], lanes[EVENTS]
        self._refused = metrics.refused.labels("overload")
        self._refusal = problem(HTTPStatus.SERVICE_UNAVAILABLE, _DETAIL, headers={"Retry-After": "1"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or scope["path"] in NEVER_REFUSED:
            await self._app(scope, receive, send)
            return
        lane = self._events if scope["path"] == "/v1/events" else self._answers
        if scope["method"] not in ("GET", "HEAD"):
            receive = await _complete(receive)
        if await lane.enter():
            await self._in_slot(lane, scope, receive, send)
        else:
            self._refused.inc()
            await self._refusal(scope, receive, send)

    async def _in_slot(self, lane: Lane, scope: Scope, receive: Receive, send: Send) -> None:
        held = True

        async def leaving(message: Message) -> None:
            nonlocal held
            if held and message["type"] == "http.response.start":
                held = False
                lane.leave()
            await send(message)

        try:
            await lane.begin()
            await self._app(scope, receive, leaving)
        finally:
            if held:
                lane.leave()


async def _complete(receive: Receive) -> Receive:
    """Wait for the whole request; the same messages again. What was wrong with it is raised where it is asked for."""
    messages: list[Message] = []
    fault: HTTPException | None = None
    try:
        while not messages or messages[-1].get("more_body", False):
            messages.append(await receive())
    except HTTPException as error:
        fault = error
    coming = iter(messages)

    async def again() -> Message:
        message = next(coming, None)
        if message is None and fault is not None:
            raise fault
        return await receive() if message is None else message

    return again
