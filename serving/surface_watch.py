"""The surfaces file while the API runs: read again when it changes; what is wrong with a new one leaves the old one in force."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Final

from schemas.errors import InvalidSettings
from serving.candidates.own import OwnSources
from serving.metrics import Metrics
from serving.surface_file import read_surfaces
from serving.surfaces import NO_SURFACES, Surfaces

log = logging.getLogger(__name__)

_SECONDS: Final = 1.0


class SurfaceWatch:
    """The surfaces in force.

    Args:
        path: of the file; None: there is none, and every surface is the built-in one.
        metrics: where a file that was refused is counted.
        own: the sources of product teams, which follow the file.

    Attributes:
        current: the newest surfaces that were right.

    Raises:
        InvalidSettings: the file is wrong, with its lines, or cannot be read.
    """

    def __init__(self, path: Path | None, metrics: Metrics, own: OwnSources) -> None:
        self._path = path
        self._metrics = metrics
        self._own = own
        self._seen = self._stamp()
        self._task: asyncio.Task[None] | None = None
        self.current: Surfaces = NO_SURFACES if path is None else self._read(path)

    def refresh(self) -> bool:
        """Look at the file; True: new surfaces are in force."""
        stamp = self._stamp()
        if self._path is None or stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.current = self._read(self._path)
        except InvalidSettings as error:
            self._metrics.surfaces_refused.inc()
            log.error("%s; the surfaces stay as they were", error)
            return False
        log.info("surfaces: %s has changed and is in force", self._path)
        return True

    def start(self) -> None:
        """Begin to look, once a second."""
        if self._path is not None:
            self._task = asyncio.create_task(self._follow(), name="surfaces")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._own.stop()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS)
            await self._own.sweep()  # what was replaced a second ago, so nobody waits for it any more
            await asyncio.to_thread(self.refresh)

    def _read(self, path: Path) -> Surfaces:
        try:
            found = read_surfaces(path, self._own.faults)
        except InvalidSettings as error:
            raise InvalidSettings(f"{path}: {error}") from error
        self._own.adopt(found)
        return found

    def _stamp(self) -> tuple[int, int, int] | None:
        """What tells one file from another; None: there is none."""
        try:
            found = self._path.stat() if self._path else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None
