"""What leaves a request goes out behind its back: gathered for a moment, sent in batches, counted where it cannot go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from prometheus_client import Counter

from schemas.errors import FreshetError

log = logging.getLogger(__name__)
T = TypeVar("T")

_DRAIN_SECONDS: Final = 2.0


class Outbox(Generic[T]):
    """A bounded buffer in front of something that may be slow or away.

    Args:
        name: for the log.
        room: how many wait at most; more are given up.
        gather_seconds: how long the first of a batch waits for others.
        send: sends a batch. A `FreshetError` of it means that the batch is lost.
        outcomes: counts those `sent` and those `failed`.
    """

    def __init__(
        self, name: str, room: int, gather_seconds: float, send: Callable[[list[T]], Awaitable[None]], outcomes: Counter
    ) -> None:
        self._name = name
        self._gather_seconds = gather_seconds
        self._send = send
        self._sent, self._failed = outcomes.labels("sent"), outcomes.labels("failed")
        self._waiting: asyncio.Queue[T] = asyncio.Queue(room)
        self._task: asyncio.Task[None] | None = None
        self._taken = True

    def add(self, one: T) -> None:
        """Take one, to be sent soon."""
        if self._waiting.full():
            self.give_up()
            return
        self._waiting.put_nowait(one)

    def give_up(self, count: int = 1) -> None:
        """Count some that do not go out."""
        self._failed.inc(count)

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send_all(), name=self._name)

    async def settle(self) -> None:
        """Wait until what is buffered now was sent or given up, within a few seconds; at once where nothing was started."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self._waiting.join()

    async def stop(self) -> None:
        """Send what is buffered, within a few seconds, and end."""
        await self.settle()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _send_all(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            await asyncio.sleep(self._gather_seconds)
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self._try(batch)
            for _ in batch:
                self._waiting.task_done()

    async def _try(self, batch: list[T]) -> None:
        try:
            await self._send(batch)
        except FreshetError as error:
            if self._taken:  # said once, not for every batch of an outage
                log.warning("%s: %s", self._name, error)
            self._taken = False
            self.give_up(len(batch))
        else:
            self._taken = True
            self._sent.inc(len(batch))
