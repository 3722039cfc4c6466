"""The end of a worker process: orderly where that is possible soon, hard where it is not.

An orderly stop applies what is queued, leaves the consumer group and closes connections. Each of these waits for a server, inside
Faust and aiokafka for a request timeout (half a minute) at a time or without any limit: a broker that is lost or frozen can hold
the process, and so can a rebalance. Hence each part gets a few seconds (`within`), and a deadline for the whole runs beside them,
in threads that need no event loop.

Ending hard loses nothing and doubles nothing: a batch's effects and its watermark enter the store in one transaction, and the next
owner of the partition reads on from the watermark. It costs that owner the session timeout of the group, which nobody has left.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from types import FrameType
from typing import Any, Final, NoReturn

import faust

log = logging.getLogger(__name__)
STOP_SECONDS: Final = 15.0
"""From the stop signal, or a crash, to the end of the process. Below what the supervisor (20 s) and Compose (30 s) allow."""
FORCED: Final = 1
"""Exit status of a stop that took too long: a failure, as of any other error; the supervisor and Compose start a new worker."""
_LAST_RESORT_SECONDS: Final = 1.0
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


async def within(seconds: float, what: str, stopping: Coroutine[Any, Any, None]) -> None:
    """Wait for one part of the stop; one that takes longer is cancelled and left behind, one that fails is logged."""
    task = asyncio.create_task(stopping, name=what)
    _, late = await asyncio.wait({task}, timeout=seconds)
    if late:
        log.warning("%s not stopped within %.0f s; going on without it", what, seconds)
        task.cancel()
    elif not task.cancelled() and (error := task.exception()) is not None:
        log.warning("%s: %s: %s", what, type(error).__name__, error)


class Deadline:
    """Ends the process when its orderly stop takes too long.

    Args:
        seconds: how long it may take from `begin` on.
        unfinished: lines that tell what was being waited for; called in a thread of its own.
    """

    def __init__(self, seconds: float, unfinished: Callable[[], Iterable[str]]) -> None:
        self._seconds = seconds
        self._unfinished = unfinished
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._begun = False

    def begin(self) -> None:
        """Let the time run; once is enough."""
        if self._begun:
            return
        self._begun = True
        # The timer's thread needs the interpreter and the log; where one of them is stuck, faulthandler's thread, in C, ends it.
        faulthandler.dump_traceback_later(self._seconds + _LAST_RESORT_SECONDS, exit=True)
        self._timer.start()

    def _expire(self) -> None:
        try:
            log.error("not stopped after %.0f s, ending now; unfinished tasks and all threads follow", self._seconds)
            for line in self._unfinished():
                log.error("unfinished: %s", line)
            faulthandler.dump_traceback(all_threads=True)
        finally:
            os._exit(FORCED)


class WorkerProcess(faust.Worker):
    """Runs a Faust app until a signal or a crash stops it; never longer than `STOP_SECONDS` after that.

    Args:
        app: the app.
        loops: the event loops of the process, once it runs.
        options: of `faust.Worker`.
    """

    def __init__(self, app: faust.App, loops: Callable[[], Iterable[asyncio.AbstractEventLoop]], **options: Any) -> None:
        super().__init__(app, **options)
        self._deadline = Deadline(STOP_SECONDS, lambda: (line for loop in loops() for line in waits(loop)))

    def install_signal_handlers(self) -> None:
        """Faust's, but the signals that stop are taken outside the event loop: it may be stuck in a call that waits."""
        super().install_signal_handlers()
        for number in _STOP_SIGNALS:
            self.loop.remove_signal_handler(number)
            signal.signal(number, self._on_stop_signal)

    def on_worker_shutdown(self) -> None:
        """The app has ended, by a signal or a crash; what it leaves behind is stopped next."""
        self._deadline.begin()
        super().on_worker_shutdown()

    def _on_stop_signal(self, number: int, frame: FrameType | None) -> None:
        for stop_signal in _STOP_SIGNALS:
            signal.signal(stop_signal, _end)
        self._deadline.begin()
        self.loop.call_soon_threadsafe(self._schedule_shutdown, signal.Signals(number))


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """A second signal. The default action would not do: the kernel spares process 1 of a container from it."""
    os._exit(128 + number)


def waits(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """What each unfinished task of a loop waits for: `name: coroutine:line > ... > innermost coroutine:line`."""
    for task in asyncio.all_tasks(loop):
        yield f"{task.get_name()}: {' > '.join(_awaits(task.get_coro()))}"


def _awaits(awaited: Any) -> Iterator[str]:
    while frame := getattr(awaited, "cr_frame", None):
        yield f"{awaited.__qualname__}:{frame.f_lineno}"
        awaited = awaited.cr_await
