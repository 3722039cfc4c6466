"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from types import TracebackType
from typing import Self, TypeVar

import httpx

from freshet_client import calls
from freshet_client.answers import Intake
from freshet_client.async_buffer import AsyncEventBuffer
from freshet_client.binding import awaiting
from freshet_client.calls import Call
from freshet_client.client import Client
from freshet_client.decoding import Answer
from freshet_client.errors import FreshetError
from freshet_client.events import Event, EventVerbs
from freshet_client.outbox import BufferOptions, Report, log_rejection
from freshet_client.retries import Retry
from freshet_client.target import JITTER, Target, answer_of, merged

A = TypeVar("A", bound=Answer)


class AsyncEvents(EventVerbs[Awaitable[Intake]]):
    """`client.events`: events, sent at once. See `Events`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._buffers: list[AsyncEventBuffer] = []

    def take(self, event: Event) -> Awaitable[Intake]:
        """Send one event."""
        return self.send([event])

    async def send(self, events: Iterable[Event]) -> Intake:
        """Send any number of events, as `Events.send` does."""
        return merged([(len(batch), await self._client.send(calls.intake(batch))) for batch in calls.batches(events)])

    def buffer(self, options: BufferOptions = BufferOptions(), on_rejected: Report = log_rejection) -> AsyncEventBuffer:
        """A buffer that sends events in the background. Arguments as of `AsyncEventBuffer`."""
        buffer = AsyncEventBuffer(self._client, lambda: Client(self._client.target), options, on_rejected)
        self._buffers.append(buffer)
        return buffer

    async def close(self) -> None:
        """Close the buffers."""
        for buffer in self._buffers:
            await buffer.close()


class AsyncClient:
    """Freshet's API for asyncio. Belongs to one event loop. Arguments as of `Client`."""

    def __init__(
        self,
        target: str | Target,
        *,
        key: str | None = None,
        timeout: float = 10.0,
        retry: Retry = Retry(),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.target = target if isinstance(target, Target) else Target(target, key, timeout, retry)
        self.events = AsyncEvents(self)
        self._http = httpx.AsyncClient(transport=transport)

    recommendations = awaiting(calls.recommendations)
    group_recommendations = awaiting(calls.group_recommendations)
    onboarding = awaiting(calls.onboarding)
    rank = awaiting(calls.rank)
    similar = awaiting(calls.similar)
    popular = awaiting(calls.popular)
    item = awaiting(calls.item)
    user = awaiting(calls.user)
    forget = awaiting(calls.forget)
    request = awaiting(calls.request)
    why = awaiting(calls.why)
    scoreboard = awaiting(calls.scoreboard)
    models = awaiting(calls.models)
    ready = awaiting(calls.ready)

    async def send(self, call: Call[A]) -> A:
        """Send a call, again where that may help.

        Raises:
            FreshetError: that of the last attempt.
        """
        failures = 0
        while True:
            try:
                return await self.attempt(call)
            except FreshetError as error:
                failures += 1
                pause = self.target.retry.pause(failures, error, JITTER)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def attempt(self, call: Call[A]) -> A:
        """Send a call once.

        Raises:
            FreshetError: no answer, no proper answer, or no.
        """
        try:
            return answer_of(call, await self._http.send(self.target.request(call)))
        except httpx.HTTPError as error:
            raise self.target.mapped(error) from error

    async def close(self) -> None:
        """Close the buffers, which send what waits, and the connections."""
        await self.events.close()
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
