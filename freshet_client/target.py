"""Where the API is, and how one attempt at a call is made with httpx."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import httpx

from freshet_client.answers import Intake, RejectedEvent
from freshet_client.calls import Call
from freshet_client.decoding import Answer
from freshet_client.errors import FreshetError, InvalidAnswer, Unreachable
from freshet_client.retries import Retry

A = TypeVar("A", bound=Answer)
AGENT: Final = "freshet-client/0.1"
JITTER: Final = random.Random()  # noqa: S311 - spreads retries over time; nobody gains by foreseeing it


@dataclass(frozen=True, slots=True)
class Target:
    """Where the API is and how it is called.

    Attributes:
        url: `https://recommend.example.com`; a path before `/v1` is kept.
        key: an API key; None: the API asks for none.
        timeout: seconds for connecting, and for each wait of an attempt.
        retry: when calls are tried again.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 10.0
    retry: Retry = Retry()

    def request(self, call: Call[A]) -> httpx.Request:
        """The call as a request.

        Raises:
            FreshetError: the URL is none.
        """
        headers = {"user-agent": AGENT, "accept": "application/json"}
        headers |= {"authorization": f"Bearer {self.key}"} if self.key else {}
        headers |= {"content-type": "application/json"} if call.body is not None else {}
        timeout = {"timeout": httpx.Timeout(self.timeout).as_dict()}
        try:
            return httpx.Request(
                call.method, self.url.rstrip("/") + call.path, headers=headers, content=call.body, extensions=timeout
            )
        except httpx.InvalidURL as error:
            raise FreshetError(f"{self.url!r} is no URL: {error}") from error

    def mapped(self, error: httpx.HTTPError) -> FreshetError:
        """httpx's error as one of ours."""
        if isinstance(error, httpx.UnsupportedProtocol):
            return FreshetError(f"{self.url!r}: {error}")
        if isinstance(error, httpx.TransportError):
            return Unreachable(f"{self.url}: {type(error).__name__}" + (f": {error}" if str(error) else ""))
        return InvalidAnswer(f"{self.url}: {error}")


def answer_of(call: Call[A], response: httpx.Response) -> A:
    """The answer in a response, whose body was read."""
    return call.answer(response.status_code, response.headers, response.content)


def merged(parts: Iterable[tuple[int, Intake]]) -> Intake:
    """What became of several batches (size, answer), as if they had been one."""
    accepted, start = 0, 0
    rejected: list[RejectedEvent] = []
    for size, part in parts:
        accepted += part.accepted
        rejected += [RejectedEvent(index=start + one.index, reason=one.reason, detail=one.detail) for one in part.rejected]
        start += size
    return Intake(accepted=accepted, rejected=tuple(rejected))
