"""The event buffer with a task."""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, Protocol, Self

from freshet_client.answers import Intake
from freshet_client.buffer import Attempts, report_all, send_batch, unforeseen
from freshet_client.calls import Call, intake
from freshet_client.errors import BufferClosed, FreshetError
from freshet_client.events import Event, EventVerbs
from freshet_client.outbox import BufferOptions, Counts, Outbox, Report, log_rejection


class AwaitsAttempts(Protocol):
    """Sends a call once."""

    async def attempt(self, call: Call[Any]) -> Any:
        """See `AsyncClient.attempt`."""


class AsyncEventBuffer(EventVerbs[Event]):
    """Gathers events and sends them in a task of the running event loop. What it promises: see `EventBuffer`.

    Adding an event is a plain call, without `await`; with a spool it writes a line to a file, with `fsync` it waits for the disk.
    What waits when the loop has ended is sent at the end of the program, or stays in the spool.

    Args:
        client: sends the batches; close it after the buffer (`AsyncClient.close` does both).
        at_exit: makes what sends the rest when there is no event loop any more.
        options: of the buffer.
        on_rejected: hears of each event that is not sent, in the event loop; must not block.

    Raises:
        SpoolInUse: another buffer has the spool. OSError: it cannot be opened. RuntimeError: no event loop runs.
    """

    def __init__(
        self,
        client: AwaitsAttempts,
        at_exit: Callable[[], Attempts],
        options: BufferOptions = BufferOptions(),
        on_rejected: Report = log_rejection,
    ) -> None:
        self._client = client
        self._at_exit = at_exit
        self._options = options
        self._on_rejected = on_rejected
        loop = asyncio.get_running_loop()
        self._outbox = Outbox(options)
        self._changed, self._moved = asyncio.Event(), asyncio.Event()
        self._urgent = 0
        self._closed = False
        self._task = loop.create_task(self._run(), name="freshet-events")
        atexit.register(self._drain)

    @property
    def counts(self) -> Counts:
        """How many events were accepted, were rejected, and wait."""
        return self._outbox.counts

    def take(self, event: Event) -> Event:
        """Keep an event until it is sent. Returns and raises as `EventBuffer.take`."""
        if self._closed:
            raise BufferClosed("the event buffer was closed")
        self._outbox.add(event, time.monotonic())
        report_all(self._outbox.reports(), self._on_rejected)
        self._changed.set()
        return event

    async def flush(self, seconds: float = 10.0) -> bool:
        """Send what waits now without further delay; returns whether all of it came to an end in that time."""
        goal = self._outbox.settled + len(self._outbox)
        self._urgent += 1
        self._changed.set()
        try:
            async with asyncio.timeout(seconds):
                while self._outbox.settled < goal:
                    await self._moved.wait()
        except TimeoutError:
            return False
        finally:
            self._urgent -= 1
        return True

    async def close(self, seconds: float | None = None) -> bool:
        """Take no more events, and send what waits. Arguments and answer as of `EventBuffer.close`."""
        self._closed = True
        done = await self.flush(self._options.close_seconds if seconds is None else seconds)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._let_go()
        return done

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wait = self._outbox.due_in(time.monotonic(), self._urgent > 0)
            if wait == 0.0:
                await self._send_batch()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def _send_batch(self) -> None:
        batch = self._outbox.take()
        outcome = await self._outcome(batch) if batch else Intake(accepted=0)
        self._outbox.note(outcome, time.monotonic())
        report_all(self._outbox.reports(), self._on_rejected)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _outcome(self, batch: list[bytes]) -> Intake | FreshetError:
        try:
            answer: Intake = await self._client.attempt(intake(batch))
        except FreshetError as error:
            return error
        except Exception as error:
            return unforeseen(error)
        return answer

    def _drain(self) -> None:
        """At the end of the program, when no event loop runs: send what waits, blocking."""
        self._closed = True
        self._outbox.put_back()
        client, until = self._at_exit(), time.monotonic() + self._options.close_seconds
        while (wait := self._outbox.due_in(time.monotonic(), urgent=True)) is not None and time.monotonic() + wait < until:
            time.sleep(wait)
            send_batch(self._outbox, client, nullcontext(), self._on_rejected)
        self._let_go()

    def _let_go(self) -> None:
        atexit.unregister(self._drain)
        self._outbox.close()
        report_all(self._outbox.reports(), self._on_rejected)
