"""Watching one part of a stack: started, ready, dead, started again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ops.stack.processes import Child, tail
from ops.stack.state import PartState
from schemas.errors import StackError

SETTLED_SECONDS = 10.0  # a part that ran this long is restarted at once when it dies
LONGEST_PAUSE = 3.0
BIND_ATTEMPTS = 5
_PORT_TAKEN = re.compile("address already in use", re.IGNORECASE)


class Part(Protocol):
    """One process of a stack: how to start it and how to tell that it works."""

    @property
    def name(self) -> str:
        """Its name within the stack, such as `worker-2`."""

    @property
    def kind(self) -> str:
        """`kafka`, `redis`, `worker` or `api`."""

    @property
    def grace(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""

    @property
    def patience(self) -> float:
        """Seconds within which it must be ready."""

    @property
    def log(self) -> Path:
        """Where its output goes."""

    def settle(self) -> None:
        """Choose other ports in place of those that somebody else holds."""

    def launch(self) -> Child:
        """Start it."""

    def ready(self, child: Child) -> bool:
        """Whether it works."""


class Watch:
    """A part, its process if it has one, and its record."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.child: Child | None = None
        self.ready = False
        self.deaths = 0
        self._quick_deaths = 0
        self._started = 0.0
        self._next_start = 0.0

    def start(self) -> Child:
        """Start the part."""
        self.child = self.part.launch()
        self.ready = False
        self._started = time.monotonic()
        return self.child

    def check(self) -> bool:
        """Whether the part is ready; once it was, that holds until it dies."""
        if not self.ready and self.child is not None and self.child.alive():
            self.ready = self.part.ready(self.child)
        return self.ready

    def revive(self) -> bool:
        """Start the part again when it died: at once the first time, after growing pauses when it keeps dying.

        Returns:
            Whether anything changed.
        """
        if self.child is not None and not self.child.alive():
            self._bury(self.child)
            return True
        if self.child is None and time.monotonic() >= self._next_start:
            self.start()
            return True
        return False

    def _bury(self, child: Child) -> None:
        self.child, self.ready = None, False
        self.deaths += 1
        settled = time.monotonic() - self._started > SETTLED_SECONDS
        self._quick_deaths = 0 if settled else self._quick_deaths + 1
        pause = 0.0 if self._quick_deaths <= 1 else min(0.25 * 2.0 ** min(self._quick_deaths, 8), LONGEST_PAUSE)
        self._next_start = time.monotonic() + pause

    def insist(self, attempt: int, rebind: bool) -> bool:
        """While starting: start again when only its port was taken; `rebind` allows it to choose another port.

        Returns:
            Whether it was started again.

        Raises:
            StackError: it stopped for another reason, or is not ready in time; with the last lines of its log.
        """
        if self.child is None or not self.child.alive():
            if attempt >= BIND_ATTEMPTS or not _PORT_TAKEN.search(tail(self.part.log, lines=60)):
                code = self.child.process.returncode if self.child else None
                raise StackError(self._complaint(f"stopped with exit code {code} while starting"))
            if rebind:
                self.part.settle()
            else:
                time.sleep(0.5)  # the address is promised to others: wait for it
            self.start()
            return True
        if time.monotonic() - self._started > self.part.patience:
            raise StackError(self._complaint(f"is not ready after {self.part.patience:g} s"))
        return False

    def state(self) -> PartState:
        """For the stack's state file."""
        part, child = self.part, self.child
        pid, created = (child.pid, child.identity.created) if child else (0, 0.0)
        return PartState(part.name, part.kind, pid, created, self.ready, self.deaths, str(part.log))

    def _complaint(self, what: str) -> str:
        return f"{self.part.name} {what}; the last lines of {self.part.log}:\n{tail(self.part.log)}"


def start_all(watches: Sequence[Watch], rebind: bool, cancelled: Callable[[], bool] = lambda: False) -> None:
    """Start parts together and wait until all are ready.

    Raises:
        StackError: one does not get ready, or `cancelled` came true.
    """
    for watch in watches:
        if rebind:
            watch.part.settle()
        watch.start()
    attempts = dict.fromkeys(watches, 1)
    while waiting := [watch for watch in watches if not watch.check()]:
        if cancelled():
            raise StackError("told to stop while starting")
        for watch in waiting:
            attempts[watch] += watch.insist(attempts[watch], rebind)
        time.sleep(0.05)
