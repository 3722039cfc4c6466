"""The event buffer with a thread."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self

from freshet_client.answers import Intake
from freshet_client.calls import Call, intake
from freshet_client.errors import BufferClosed, FreshetError
from freshet_client.events import Event, EventVerbs
from freshet_client.outbox import BufferOptions, Counts, Outbox, Rejection, Report, log_rejection

log = logging.getLogger(__name__)


class Attempts(Protocol):
    """Sends a call once."""

    def attempt(self, call: Call[Any]) -> Any:
        """See `Client.attempt`."""


class EventBuffer(EventVerbs[Event]):
    """Gathers events and sends them in the background, in order, in batches, until the API has taken them.

    Its methods return at once and never fail for want of a server. Events that the API rejects, and those that had to give way,
    are reported and not sent again. At the end of the program what waits is sent, for at most `close_seconds`. May be shared by
    threads; make it after a fork, not before.

    Args:
        client: sends the batches; close it after the buffer (`Client.close` does both).
        options: of the buffer.
        on_rejected: hears of each event that is not sent, in the buffer's thread or in that of who added an event; must not block.

    Raises:
        SpoolInUse: another buffer has the spool. OSError: it cannot be opened.
    """

    def __init__(self, client: Attempts, options: BufferOptions = BufferOptions(), on_rejected: Report = log_rejection) -> None:
        self._client = client
        self._options = options
        self._on_rejected = on_rejected
        self._outbox = Outbox(options)
        self._changed = threading.Condition()
        self._urgent = 0
        self._closed = self._ending = False
        self._thread = threading.Thread(target=self._run, name="freshet-events", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def counts(self) -> Counts:
        """How many events were accepted, were rejected, and wait."""
        with self._changed:
            return self._outbox.counts

    def take(self, event: Event) -> Event:
        """Keep an event until it is sent.

        Returns:
            The event, with its id.

        Raises:
            BufferClosed: it was closed. BufferFull: if that is the policy. ValueError, TypeError: the event has no JSON.
        """
        with self._changed:
            if self._closed:
                raise BufferClosed("the event buffer was closed")
            self._outbox.add(event, time.monotonic())
            reports = self._outbox.reports()
            self._changed.notify_all()
        report_all(reports, self._on_rejected)
        return event

    def flush(self, seconds: float = 10.0) -> bool:
        """Send what waits now without further delay.

        Returns:
            Whether all of it came to an end in that time.
        """
        with self._changed:
            goal = self._outbox.settled + len(self._outbox)
            self._urgent += 1
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: self._outbox.settled >= goal, seconds)
            self._urgent -= 1
        return done

    def close(self, seconds: float | None = None) -> bool:
        """Take no more events, and send what waits. What cannot be sent stays in the spool, or is reported as `unsent`.

        Args:
            seconds: how long it may take; None: `close_seconds`.

        Returns:
            Whether everything was sent.
        """
        atexit.unregister(self.close)
        with self._changed:
            self._closed = True
        done = self.flush(self._options.close_seconds if seconds is None else seconds)
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(1.0)  # an attempt that hangs is left to itself
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        while self._is_due():
            send_batch(self._outbox, self._client, self._changed, self._on_rejected)
            with self._changed:
                self._changed.notify_all()
        with self._changed:
            self._outbox.close()
            reports = self._outbox.reports()
        report_all(reports, self._on_rejected)

    def _is_due(self) -> bool:
        """Wait until a batch should be sent; False: the end has come."""
        with self._changed:
            while not self._ending:
                wait = self._outbox.due_in(time.monotonic(), self._urgent > 0)
                if wait == 0.0:
                    return True
                self._changed.wait(wait)
            return False


def send_batch(outbox: Outbox, client: Attempts, lock: AbstractContextManager[object], on_rejected: Report) -> None:
    """Send the next batch of an outbox once, and note what became of it.

    Args:
        lock: held whenever the outbox is touched.
    """
    with lock:
        batch = outbox.take()
    outcome = _outcome(client, batch) if batch else Intake(accepted=0)
    with lock:
        outbox.note(outcome, time.monotonic())
        reports = outbox.reports()
    report_all(reports, on_rejected)


def report_all(reports: Iterable[Rejection], on_rejected: Report) -> None:
    """Tell of rejections. What goes wrong with that harms no other event."""
    for one in reports:
        try:
            on_rejected(one)
        except Exception:
            log.exception("the report of a rejected event failed")


def unforeseen(error: Exception) -> FreshetError:
    """Any error while a batch was sent: logged, and the batch waits, so that a fault here never ends the sending."""
    log.error("a batch of events could not be sent", exc_info=error)
    return FreshetError(f"{type(error).__name__}: {error}")


def _outcome(client: Attempts, batch: list[bytes]) -> Intake | FreshetError:
    try:
        answer: Intake = client.attempt(intake(batch))
    except FreshetError as error:
        return error
    except Exception as error:
        return unforeseen(error)
    return answer
