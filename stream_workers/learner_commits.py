"""When the learner commits, and the commit that is on its way: while the store takes it in, learning goes on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

from stream_workers.learner_shelf import LearnerShelf, Packed
from stream_workers.learner_thread import StageThread

_COMMIT_SECONDS: Final = 0.25
_BYTES_PER_SECOND: Final = 16 * 1024 * 1024
_BYTES_PER_SECOND_BEHIND: Final = 4 * 1024 * 1024  # nobody is served fresher by a commit in the middle of a backlog
_BUSY_SHARE: Final = 4.0  # packing that takes t is followed by at least this many t without any
_PROBE_SECONDS: Final = 2.0


class LearnerCommits:
    """One commit after the other, at a measured pace.

    Args:
        shelf: where to.
        clock_ms: the time, ms.
        thread: where the stage lives: what is packed contains what was handed to it before, and nothing that comes later.
    """

    def __init__(self, shelf: LearnerShelf, clock_ms: Callable[[], int], thread: StageThread) -> None:
        self._shelf = shelf
        self._clock_ms = clock_ms
        self._thread = thread
        self._rest_from = 0.0
        self._last_bytes, self._last_seconds = 0, 0.0
        self._probe_at = time.monotonic() + _PROBE_SECONDS
        self._described = False
        self._packed_marks = dict(shelf.marks)
        self._writing: asyncio.Task[None] | None = None

    def describe(self) -> None:
        """Something changed that no mark tells of."""
        self._described = True

    async def turn(self, marks: Mapping[str, int], behind: bool = False) -> bool:
        """Begin a commit if it is time. True: the store was only looked at, because nothing had changed for long.

        Args:
            marks: what of the log the stage contains when it has done what was handed to its thread.
            behind: whether much of the log waits to be learnt: commits are rarer then.

        Raises:
            Fenced, StoreUnavailable: also of an earlier commit.
        """
        if self._writing is not None:
            if not self._writing.done():
                return False
            await self._written()
        now = time.monotonic()
        if self._changed(marks) and now >= self._due(behind):
            self._probe_at = now + _PROBE_SECONDS
            self._writing = asyncio.create_task(self._write(self._pack(marks)), name="learner-commit")
        elif now >= self._probe_at:
            self._probe_at = now + _PROBE_SECONDS
            await self._shelf.probe()
            return True
        return False

    async def finish(self, marks: Mapping[str, int]) -> None:
        """Commit everything. Raises as `turn`."""
        await self._written()
        if self._changed(marks):
            await self._write(self._pack(marks))

    async def close(self) -> None:
        """Wait for no commit any more."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # whoever closes has an error already, or none to tell
                await writing

    def _due(self, behind: bool) -> float:
        pace = _BYTES_PER_SECOND_BEHIND if behind else _BYTES_PER_SECOND
        return self._rest_from + max(_COMMIT_SECONDS, self._last_bytes / pace, _BUSY_SHARE * self._last_seconds)

    def _changed(self, marks: Mapping[str, int]) -> bool:
        return self._described or marks != self._packed_marks

    def _pack(self, marks: Mapping[str, int]) -> Future[Packed]:
        self._described, self._packed_marks = False, dict(marks)
        return self._thread.submit(self._shelf.pack, marks, self._clock_ms())

    async def _write(self, packing: Future[Packed]) -> None:
        packed = await asyncio.wrap_future(packing)
        self._rest_from, self._last_bytes, self._last_seconds = time.monotonic(), packed.bytes, packed.seconds
        await self._shelf.write(packed)

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing
