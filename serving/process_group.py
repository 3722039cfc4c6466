"""Processes that are forked from one and kept running: whoever dies is replaced at once, later if it dies again and again."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, NoReturn

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 12.0  # then those that are still there are killed
_STEADY_SECONDS: Final = 10.0  # who has lived so long is replaced at once
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_WATCHED: Final = _STOPPING | {signal.SIGCHLD}

Body = Callable[[int], None]


@dataclass
class _Member:
    """One process. `pid`: 0 where it is not there; `due`: when to start it then. `deaths`: in a row, each soon after its start."""

    name: str
    body: Body
    pid: int = 0
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0

    def died(self, now: float) -> None:
        """Note it, and when to start another."""
        self.pid = 0
        self.deaths = self.deaths + 1 if now - self.started < _STEADY_SECONDS else 0
        self.due = now + pause_after(self.deaths)


def pause_after(deaths: int) -> float:
    """Seconds to wait after so many deaths in a row, each soon after the start.

    >>> [pause_after(deaths) for deaths in (0, 1, 2, 3, 9)]
    [0.0, 0.0, 0.2, 0.4, 5.0]
    """
    return 0.0 if deaths < 2 else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (deaths - 2))


class ProcessGroup:
    """Runs until SIGTERM or SIGINT. The process that forks must have one thread only: locks of others would stay locked for ever.

    Args:
        bodies: what each process does, by name. It is told a descriptor that is at its end when this process is gone, however that
            ended: the sign to end, too.
        gone: is told the name of a process that has died.
    """

    def __init__(self, bodies: Mapping[str, Body], gone: Callable[[str], None]) -> None:
        self._members = [_Member(name, body) for name, body in bodies.items()]
        self._gone = gone
        self._lifeline, self._alive = os.pipe()
        self._mask: set[signal.Signals] = set()
        self._stopping = False

    def run(self, stopping: Callable[[], None]) -> None:
        """Returns when all have ended after a signal to stop; a second one, or too long a wait, kills them.

        Args:
            stopping: is called before they are told.
        """
        # Signals wait until they are asked for, so none comes at a bad moment.
        self._mask = {signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)}
        try:
            while not self._told_to_stop():
                pass
            stopping()
            self._stop()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _told_to_stop(self) -> bool:
        """Start who is due, then wait for the next thing to happen."""
        now = monotonic()
        for member in self._members:
            if not member.pid and member.due <= now:
                self._start(member)
        pauses = [member.due - now for member in self._members if not member.pid]
        return self._happened(max(0.0, min(pauses, default=3600.0))) in _STOPPING

    def _happened(self, seconds: float) -> int:
        """The next signal; 0: there was none. Whoever died is noted."""
        found = signal.sigtimedwait(_WATCHED, seconds)
        for member in self._members:
            if member.pid and (ended := os.waitpid(member.pid, os.WNOHANG))[0]:
                self._bury(member, ended[1])
        return found.si_signo if found else 0

    def _bury(self, member: _Member, status: int) -> None:
        pid, now = member.pid, monotonic()
        member.died(now)
        self._gone(member.name)
        if not self._stopping:
            ended = f"{member.name} (pid {pid}) ended with status {os.waitstatus_to_exitcode(status)}"
            log.warning("%s; another comes in %.1f s", ended, member.due - now)

    def _start(self, member: _Member) -> None:
        sys.stdout.flush()
        member.started = monotonic()
        member.pid = os.fork()
        if not member.pid:
            self._become(member)

    def _become(self, member: _Member) -> NoReturn:
        """In the new process: do its work, and never return to what its parent does."""
        status = 1
        try:
            os.close(self._alive)
            for number in _WATCHED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            with suppress(OSError):
                Path("/proc/self/comm").write_text(f"freshet-{member.name}")  # what ps and top show
            member.body(self._lifeline)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.critical("%s", member.name, exc_info=True)
        finally:
            sys.stdout.flush()
            logging.shutdown()
            os._exit(status)

    def _stop(self) -> None:
        self._stopping = True
        self._tell(signal.SIGTERM)
        deadline = monotonic() + STOP_SECONDS
        while any(member.pid for member in self._members) and (left := deadline - monotonic()) > 0:
            if self._happened(left) in _STOPPING:
                break
        self._tell(signal.SIGKILL)
        for member in self._members:
            if member.pid:
                os.waitpid(member.pid, 0)

    def _tell(self, number: signal.Signals) -> None:
        for member in self._members:
            if member.pid:
                os.kill(member.pid, number)
