"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self, TypeVar

import httpx

from freshet_client import calls
from freshet_client.answers import Intake
from freshet_client.binding import blocking
from freshet_client.buffer import EventBuffer
from freshet_client.calls import Call
from freshet_client.decoding import Answer
from freshet_client.errors import FreshetError
from freshet_client.events import Event, EventVerbs
from freshet_client.outbox import BufferOptions, Report, log_rejection
from freshet_client.retries import Retry
from freshet_client.target import JITTER, Target, answer_of, merged

A = TypeVar("A", bound=Answer)


class Events(EventVerbs[Intake]):
    """`client.events`: events, sent at once. Each call returns when Kafka has acknowledged what was accepted."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._buffers: list[EventBuffer] = []

    def take(self, event: Event) -> Intake:
        """Send one event."""
        return self.send([event])

    def send(self, events: Iterable[Event]) -> Intake:
        """Send any number of events, up to 1,000 in a request.

        After an error the same events may be sent again: those that had arrived are not counted twice.

        Returns:
            How many were accepted, and which were not (by their place in `events`).

        Raises:
            FreshetError: the API could not be asked, or said no. ValueError, TypeError: an event has no JSON; none was sent.
        """
        return merged([(len(batch), self._client.send(calls.intake(batch))) for batch in calls.batches(events)])

    def buffer(self, options: BufferOptions = BufferOptions(), on_rejected: Report = log_rejection) -> EventBuffer:
        """A buffer that sends events in the background. Arguments as of `EventBuffer`."""
        buffer = EventBuffer(self._client, options, on_rejected)
        self._buffers.append(buffer)
        return buffer

    def close(self) -> None:
        """Close the buffers."""
        for buffer in self._buffers:
            buffer.close()


class Client:
    """Freshet's API, blocking. May be shared by threads.

    Args:
        target: the API's URL, or where it is and how it is called.
        key, timeout, retry: see `Target`; used where `target` is a URL.
        transport: of httpx, for proxies, certificates, tests.
    """

    def __init__(
        self,
        target: str | Target,
        *,
        key: str | None = None,
        timeout: float = 10.0,
        retry: Retry = Retry(),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.target = target if isinstance(target, Target) else Target(target, key, timeout, retry)
        self.events = Events(self)
        self._http = httpx.Client(transport=transport)

    recommendations = blocking(calls.recommendations)
    group_recommendations = blocking(calls.group_recommendations)
    onboarding = blocking(calls.onboarding)
    rank = blocking(calls.rank)
    similar = blocking(calls.similar)
    popular = blocking(calls.popular)
    item = blocking(calls.item)
    user = blocking(calls.user)
    forget = blocking(calls.forget)
    request = blocking(calls.request)
    why = blocking(calls.why)
    scoreboard = blocking(calls.scoreboard)
    models = blocking(calls.models)
    ready = blocking(calls.ready)

    def send(self, call: Call[A]) -> A:
        """Send a call, again where that may help.

        Raises:
            FreshetError: that of the last attempt.
        """
        failures = 0
        while True:
            try:
                return self.attempt(call)
            except FreshetError as error:
                failures += 1
                pause = self.target.retry.pause(failures, error, JITTER)
                if pause is None:
                    raise
            time.sleep(pause)

    def attempt(self, call: Call[A]) -> A:
        """Send a call once.

        Raises:
            FreshetError: no answer, no proper answer, or no.
        """
        try:
            return answer_of(call, self._http.send(self.target.request(call)))
        except httpx.HTTPError as error:
            raise self.target.mapped(error) from error

    def close(self) -> None:
        """Close the buffers, which send what waits, and the connections."""
        self.events.close()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
