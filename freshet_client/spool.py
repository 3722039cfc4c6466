"""Events on disk until they are handed over, so that they outlive the program.

One file of JSON lines that only grows: `{"at": ms, "event": {...}}` for each event, `{"settled": [event_id, ...]}` for those that
were handed over or given up. Written anew once most of it is settled. A line that a crash cut off is left out and logged.

A line is in the operating system's hands when `add` returns: it survives the death of the program, `kill -9` included. It survives
the death of the machine only with `fsync`, which costs a disk's round trip for each event.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from freshet_client.errors import SpoolInUse
from freshet_client.events import encode

log = logging.getLogger(__name__)
REWRITE_BYTES: Final = 4 << 20  # a smaller file is left as it is while events wait


class Line(NamedTuple):
    """An event on its way: its id, when it was given (ms since the epoch), its JSON."""

    event_id: str
    at: int
    encoded: bytes

    def spooled(self) -> bytes:
        """As it stands in the file."""
        return b'{"at":%d,"event":%s}\n' % (self.at, self.encoded)


class Spool:
    """The file. Belongs to one buffer, which a lock beside it (`.lock`) sees to; on Windows nothing does.

    Args:
        path: of the file; made if it is not there, its folder too.
        fsync: see above.

    Raises:
        SpoolInUse: another buffer has it. OSError: it cannot be opened.
    """

    def __init__(self, path: Path, fsync: bool) -> None:
        self._path = path
        self._fsync = fsync
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path)
        self._torn = self._failing = False
        self.left = tuple(_unsettled(path))
        self._file = self._written_anew(self.left)

    def add(self, line: Line) -> None:
        """Write an event. A full disk is logged, and the event goes on without the file."""
        self._append(line.spooled())

    def settle(self, ids: Sequence[str]) -> None:
        """Write that these need not be sent again."""
        self._append(encode({"settled": ids}) + b"\n")

    def tidy(self, waiting: Sequence[Line]) -> None:
        """Make the file shorter where it is worth it and can be done; `waiting` is all that must stay in it."""
        size = os.fstat(self._file).st_size
        try:
            if not waiting and size:
                os.ftruncate(self._file, 0)
            elif size > REWRITE_BYTES and size > 2 * sum(len(line.encoded) for line in waiting):
                before, self._file = self._file, self._written_anew(waiting)
                os.close(before)
        except OSError as error:
            log.warning("%s: %s; the file stays as long as it is", self._path, error)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
        os.close(self._lock)

    def _append(self, text: bytes) -> None:
        rest = memoryview(b"\n" + text if self._torn else text)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if self._fsync:
                os.fsync(self._file)
        except OSError as error:
            if not self._failing:
                log.warning("%s: %s; events are kept in memory only until it can be written", self._path, error)
            self._torn = self._failing = True  # part of the line may be there: the next begins on its own
        else:
            self._torn = self._failing = False

    def _written_anew(self, lines: Iterable[Line]) -> int:
        """Put a file with these lines in the place of the old one, whole or not at all; returns it, open for more."""
        beside = self._path.with_name(f"{self._path.name}.new")
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            with open(file, "wb", closefd=False) as lines_of_it:
                lines_of_it.writelines(line.spooled() for line in lines)
            os.fsync(file)
            beside.replace(self._path)
        except OSError:
            os.close(file)
            raise
        return file


def _unsettled(path: Path) -> list[Line]:
    """The events in the file that nothing says are settled, in their order."""
    waiting: dict[str, Line] = {}
    damaged = 0
    try:
        with path.open("rb") as file:
            for text in file:
                damaged += not _applied(text, waiting)
    except FileNotFoundError:
        return []
    if damaged:
        log.warning("%s: %d lines cannot be read (cut off by a crash?) and are left out", path, damaged)
    return list(waiting.values())


def _applied(text: bytes, waiting: dict[str, Line]) -> bool:
    """Add the line's event to those that wait, or take settled ones out; False: it is no such line."""
    try:
        entry: Any = json.loads(text) if text.strip() else {"settled": []}
        if "settled" in entry:
            for one in entry["settled"]:
                waiting.pop(one, None)
            return True
        line = Line(str(entry["event"]["event_id"]), int(entry["at"]), encode(entry["event"]))
    except (ValueError, TypeError, KeyError):
        return False
    waiting[line.event_id] = line
    return True


def _locked(path: Path) -> int:
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415 - Unix only

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise SpoolInUse(f"{path}: another buffer writes it; give each one a file of its own") from error
    return lock
