"""The one error tree of the client.

FreshetError
├── Unreachable          no answer came: refused, reset, timed out; trying again may help
├── InvalidAnswer        something answered, but not as Freshet does: a proxy's page, half a document
├── ApiError             the API said no; carries its problem document (RFC 9457)
│   ├── InvalidRequest   400, 413, 414, 422, 431: the request is wrong; `errors` names the fields
│   ├── NotAllowed       401, 403: the key is missing, unknown, or has not the role
│   ├── NotFound         404
│   ├── TooManyRequests  429
│   └── ServerError      5xx, among them 503: Kafka or the store is away
├── BufferClosed         an event was given to a buffer after its end
├── BufferFull           and the buffer was told to raise instead of dropping the oldest
└── SpoolInUse           another buffer, here or in another process, writes this spool file
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


class FreshetError(Exception):
    """Base of every error that the client raises on purpose."""


class Unreachable(FreshetError):
    """No answer came: the connection was refused or reset, or time ran out."""


class InvalidAnswer(FreshetError):
    """Something answered, but not as Freshet does; the message says what is wrong and where."""


class BufferClosed(FreshetError):
    """The event buffer was closed."""


class BufferFull(FreshetError):
    """The event buffer holds as many events as it may."""


class SpoolInUse(FreshetError):
    """Another buffer writes this spool file; each needs a file of its own."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One field of a request that is wrong."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document (RFC 9457). `raw` is the whole of it."""

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    errors: tuple[Fault, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, status: int, document: object) -> Problem:
        """Whatever was answered, as a problem: a proxy between here and Freshet has documents of its own, or none."""
        given = document if isinstance(document, dict) else {}
        faults = given.get("errors")
        return cls(
            status=status,
            title=str(given.get("title") or _phrase(status)),
            detail=str(given.get("detail") or ""),
            type=str(given.get("type") or "about:blank"),
            errors=tuple(
                Fault(str(fault.get("field")), str(fault.get("message")))
                for fault in (faults if isinstance(faults, list) else ())
                if isinstance(fault, dict)
            ),
            raw=given,
        )


class ApiError(FreshetError):
    """The API said no.

    Args:
        problem: what it said.
        retry_after: seconds after which it wants to be asked again; None: it did not say.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.title}" + (f": {problem.detail}" if problem.detail else ""))
        self.problem = problem
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def errors(self) -> tuple[Fault, ...]:
        """The fields that are wrong."""
        return self.problem.errors


class InvalidRequest(ApiError):
    """The request is wrong; sent again it will be wrong again."""


class NotAllowed(ApiError):
    """The key is missing, unknown, or has not the role that the call needs."""


class NotFound(ApiError):
    """The API does not know the item, or the request, that was named."""


class TooManyRequests(ApiError):
    """More calls than the API takes from this key or address."""


class ServerError(ApiError):
    """The API, or a proxy before it, cannot do its work now."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidRequest,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    413: InvalidRequest,
    414: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
    431: InvalidRequest,
}


def error_of(status: int, document: object, retry_after: float | None) -> ApiError:
    """The error for an answer that is not a success."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return kind(Problem.of(status, document), retry_after)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"
