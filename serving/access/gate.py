"""The gate before every route: is the key known, may it do this, and not too often.

Plain ASGI, so that nothing is read of a body before it is known whose it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.bucket import Rate, Verdict
from serving.access.doors import Doors, Found
from serving.access.keys import Caller, KeyRing
from serving.access.limiter import Limiter
from serving.access.pages import from_a_strange_page
from serving.access.presented import address_bucket, presented_key
from serving.access.roles import Role
from serving.metrics import Metrics
from serving.problems import problem

_NO_KEY: Final = "this call needs a key: send one header `Authorization: Bearer KEY`"
_UNKNOWN_KEY: Final = "this key is not known here"
_POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1


class Refusal(NamedTuple):
    """Why a request goes no further; `reason` is the label of the metric."""

    reason: str
    status: HTTPStatus
    detail: str
    headers: Mapping[str, str]


_STRANGE_PAGE: Final = Refusal(
    "strange_page", HTTPStatus.FORBIDDEN, "a page of another origin may not do that: see FRESHET_CORS_ORIGINS", {}
)


class Gate:
    """Lets a request through to its route, or answers it.

    Args:
        app: what is behind.
        keys: who may call; None: everybody may do everything.
        limiter: how often; None: as often as they like.
        origins: whose pages may have a browser change something where there are no keys.
        metrics: where refusals are counted.
    """

    def __init__(
        self, app: ASGIApp, keys: KeyRing | None, limiter: Limiter | None, origins: Collection[str], metrics: Metrics
    ) -> None:
        self._app = app
        self._keys = keys
        self._limiter = limiter
        self._origins = origins
        self._metrics = metrics
        self._doors: Doors | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "websocket":  # there are none, and a route that is added one day is not to be open by oversight
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._found(scope)
        if found.need is None:
            await self._app(scope, receive, send)
            return
        caller = self._caller(scope)
        verdict = None if isinstance(caller, Refusal) else await self._verdict(scope, caller)
        refusal = caller if isinstance(caller, Refusal) else self._refusal(found, caller, verdict)
        if verdict is not None and self._limiter is not None:
            send = _telling(send, limit_headers(self._limiter.rate, verdict))
        if refusal is None:
            await self._app(scope, receive, send)
            return
        self._metrics.refused.labels(refusal.reason).inc()
        await problem(refusal.status, refusal.detail, headers=refusal.headers)(scope, receive, send)

    def _found(self, scope: Scope) -> Found:
        if self._doors is None:
            self._doors = Doors(scope["app"].routes)
        found = self._doors.find(scope["method"], scope["path"])
        if found.route is not None:
            scope["route"] = found.route  # for the metrics of requests that end here
        return found

    def _caller(self, scope: Scope) -> Caller | Refusal | None:
        """Whose key it is; None: there are no keys here."""
        if self._keys is None:
            return _STRANGE_PAGE if from_a_strange_page(scope, self._origins) else None
        key = presented_key(scope)
        if key is None:
            return Refusal("no_key", HTTPStatus.UNAUTHORIZED, _NO_KEY, {"WWW-Authenticate": "Bearer"})
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return self._keys.caller(key) or Refusal("unknown_key", HTTPStatus.UNAUTHORIZED, _UNKNOWN_KEY, challenge)

    async def _verdict(self, scope: Scope, caller: Caller | None) -> Verdict | None:
        if self._limiter is None:
            return None
        return await self._limiter.spend(caller.bucket if caller else address_bucket(scope))

    def _refusal(self, found: Found, caller: Caller | None, verdict: Verdict | None) -> Refusal | None:
        if verdict is not None and not verdict.allowed:
            seconds = _seconds(verdict.retry_us)
            detail = f"too many requests: try again in {seconds} s"
            return Refusal("too_often", HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(seconds)})
        if caller is None:
            return None
        if found.route is None:  # answered here: what the table of doors does not see must not be reached either
            return _nowhere(found)
        return None if found.need is None or caller.may(found.need) else _forbidden(found.need)


def limit_headers(rate: Rate, verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """What a client is told of its bucket, as in draft-ietf-httpapi-ratelimit-headers-06 (2022).

    >>> limit_headers(Rate(10, 20), Verdict(True, 19, 0, 100_000))[1:3]
    [(b'ratelimit-remaining', b'19'), (b'ratelimit-reset', b'1')]
    """
    told = {
        b"ratelimit-limit": rate.burst,
        b"ratelimit-remaining": verdict.remaining,
        b"ratelimit-reset": _seconds(verdict.full_us),
    }
    policy = b"%d;w=%d" % (rate.burst, _seconds(rate.burst * rate.interval_us))
    return [*((name, b"%d" % number) for name, number in told.items()), (b"ratelimit-policy", policy)]


def _seconds(microseconds: int) -> int:
    return max(1, math.ceil(microseconds / 1_000_000))


def _telling(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return telling


def _forbidden(need: Role) -> Refusal:
    challenge = f'Bearer error="insufficient_scope", scope="{need}"'
    detail = f"this key may not do that: it lacks the role {need}"
    return Refusal("missing_role", HTTPStatus.FORBIDDEN, detail, {"WWW-Authenticate": challenge})


def _nowhere(found: Found) -> Refusal:
    if found.allowed:
        allow = {"Allow": ", ".join(sorted(found.allowed))}
        return Refusal("no_route", HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.METHOD_NOT_ALLOWED.phrase, allow)
    return Refusal("no_route", HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND.phrase, {})
