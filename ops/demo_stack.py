"""The demo's own stack: fresh at the start, gone at the end, whichever way the end comes."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from ops import stack
from ops.demo_page import Page
from ops.stack.state import Folder, State
from schemas.errors import StackError
from schemas.settings import Settings

NAME: Final = "demo"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the demo to end. Not a KeyboardInterrupt: nobody on the way up shall tell how to continue a replay.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """As a person calls it."""
        return "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name


class Stoppable:
    """Turns signals into `Stopped`, until `hold` is set: stopping must not be stopped halfway."""

    def __init__(self) -> None:
        self.hold = False

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """Signal handler."""
        if not self.hold:
            raise Stopped(number)


@contextmanager
def stoppable() -> Iterator[Stoppable]:
    """Ctrl-C, SIGTERM and a closed terminal raise `Stopped` in the block; what was ignored before (nohup) stays ignored."""
    stopping = Stoppable()
    earlier = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = [number for number, handler in earlier.items() if handler != signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, stopping.on_signal)
    try:
        yield stopping
    except SystemError as error:
        # raised in a call that had its result already: the interpreter wraps it
        raise error.__cause__ if isinstance(error.__cause__, Stopped) else error from None
    finally:
        for number in heeded:
            signal.signal(number, earlier[number])


@contextmanager
def only_one_demo(settings: Settings) -> Iterator[None]:
    """Hold the right to the stack named `demo`.

    Raises:
        StackError: a demo that still runs holds it.
    """
    path = settings.home.expanduser() / "stacks" / f".{NAME}.running"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StackError(f"a demo is running already (pid {holder}): end it with Ctrl-C first") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def fresh_stack(settings: Settings, page: Page, stopping: Stoppable) -> Iterator[stack.Stack]:
    """Kafka, Redis, one worker and the API, new, and stopped with their data at the end of the block.

    Raises:
        StackError: they cannot be started.
    """
    if is_up(settings):
        page.say(f"stack {NAME!r} is up from an earlier run: taking it down first")
    stack.down(settings, NAME, say=lambda line: None)
    if settings.kafka or settings.redis:
        page.say("using the servers that are set in FRESHET_KAFKA, FRESHET_REDIS: what the demo writes there stays there")
    try:
        with page.busy("starting"):
            begun = time.monotonic()
            started = stack.up(settings, NAME, workers=1, say=page.say)
        page.say(f"ready after {time.monotonic() - begun:.1f} s")
        yield started
    finally:
        stopping.hold = True
        with page.busy("stopping the demo's stack (a few seconds)"):
            stack.down(settings, NAME, say=lambda line: None)


def is_up(settings: Settings) -> bool:
    """Whether the demo's stack runs (or is starting)."""
    state = State.read(Folder.of(settings, NAME))
    return state is not None and state.running
