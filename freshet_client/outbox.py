"""What an event buffer keeps and when it sends it. No threads, no tasks, no network: the two buffers bring those."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from freshet_client.answers import Intake
from freshet_client.calls import BATCH_BYTES, MAX_EVENTS
from freshet_client.errors import ApiError, BufferFull, FreshetError, InvalidAnswer, InvalidRequest
from freshet_client.events import Event, now_ms
from freshet_client.retries import Retry, retry_after_of
from freshet_client.spool import Line, Spool
from freshet_client.target import JITTER

log = logging.getLogger(__name__)
_LONGEST_PAUSE: Final = 3600.0  # whatever the server names
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class BufferOptions:
    """How an event buffer works.

    Attributes:
        linger: seconds that an event waits for company before it is sent.
        batch: most events in a request, at most 1,000; a request is below the API's bound of 1 MiB in any case.
        capacity, capacity_bytes: most events, and bytes of their JSON, that are kept while they cannot be sent.
        when_full: what gives way then: the oldest event, which is reported, or the new one, by an error (`BufferFull`).
        spool: file in which events outlive the program; None: they do not. Each buffer needs its own.
        fsync: each event is on the disk before the call that adds it returns; else it survives the program, not the machine.
        keep_hours: an event that could not be handed over for so long is reported and not sent: the API knows ids for 24 hours, and
            might later count a second time what had arrived.
        close_seconds: how long the end of the program, and `close`, wait for the rest to be sent.
        retry: `base` and `cap` of the pauses between attempts; there is no end to the attempts.
    """

    linger: float = 0.2
    batch: int = MAX_EVENTS
    capacity: int = 10_000
    capacity_bytes: int = 16 << 20
    when_full: Literal["drop_oldest", "raise"] = "drop_oldest"
    spool: Path | str | None = None
    fsync: bool = False
    keep_hours: float = 24.0
    close_seconds: float = 5.0
    retry: Retry = Retry(base=0.5, cap=30.0)

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= MAX_EVENTS:
            raise ValueError(f"batch={self.batch}: must be 1 to {MAX_EVENTS}")
        if self.capacity < 1:
            raise ValueError(f"capacity={self.capacity}: must be at least 1")


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that will not be sent (again).

    Attributes:
        reason: the API's (`invalid`, `timestamp_in_future`, ...), or the buffer's: `refused` (the API took no request with it),
            `buffer_full`, `too_old`, `unsent` (the buffer was closed, and there is no spool).
    """

    event: Mapping[str, Any]
    reason: str
    detail: str


Report = Callable[[Rejection], None]


class Counts(NamedTuple):
    """What became of the events of a buffer, those of an earlier run's spool included."""

    accepted: int
    rejected: int
    waiting: int


def log_rejection(rejection: Rejection) -> None:
    """The default report: a warning in the log."""
    log.warning("event not sent, %s: %s: %s", rejection.reason, rejection.detail, dict(rejection.event))


class Outbox:
    """Events that wait, in order, and at most one batch that is on its way.

    Args:
        options: of the buffer.

    Raises:
        SpoolInUse, OSError: the spool cannot be had.
    """

    def __init__(self, options: BufferOptions) -> None:
        self._options = options
        self._waiting: deque[Line] = deque()
        self._flying: list[Line] = []
        self._bytes = 0
        self._batch = options.batch
        self._failures = 0
        self._not_before = self._since = 0.0
        self._accepted = self._rejected = 0
        self._spool = Spool(Path(options.spool), options.fsync) if options.spool is not None else None
        self.unreported: list[Rejection] = []
        for line in self._spool.left if self._spool else ():
            self._keep(line)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._flying)

    @property
    def counts(self) -> Counts:
        """What became of the events."""
        return Counts(self._accepted, self._rejected, len(self))

    @property
    def settled(self) -> int:
        """How many events came to an end."""
        return self._accepted + self._rejected

    def add(self, event: Event, now: float) -> None:
        """Keep an event.

        Args:
            now: monotonic seconds.

        Raises:
            BufferFull: there is no room, and the oldest is not to give way. ValueError, TypeError: the event has no JSON.
        """
        line = Line(event.event_id, now_ms(), event.encoded())
        if self._options.when_full == "raise" and self._full_with(line):
            raise BufferFull(f"{len(self)} events wait ({self._bytes} bytes)")
        if not self._waiting:
            self._since = now
        if self._spool:
            self._spool.add(line)
        self._keep(line)

    def due_in(self, now: float, urgent: bool) -> float | None:
        """Seconds until a batch should be sent; None: nothing waits.

        Args:
            now: monotonic seconds.
            urgent: do not wait for company (but still for the end of a pause).
        """
        if not self._waiting:
            return None
        full = len(self._waiting) >= self._batch or self._bytes >= BATCH_BYTES
        return max(0.0, self._not_before - now, 0.0 if urgent or full else self._since + self._options.linger - now)

    def take(self) -> list[bytes]:
        """The next batch, now on its way, as JSON; empty if all that waited was too old."""
        size = 0
        oldest = now_ms() - self._options.keep_hours * _HOUR_MS
        while self._waiting and len(self._flying) < self._batch:
            line = self._waiting[0]
            if line.at < oldest:
                self._give_up([self._waiting.popleft()], "too_old", f"not handed over within {self._options.keep_hours:g} hours")
                continue
            size += len(line.encoded) + 1
            if self._flying and size > BATCH_BYTES:
                break
            self._flying.append(self._waiting.popleft())
        return [line.encoded for line in self._flying]

    def note(self, outcome: Intake | FreshetError, now: float) -> None:
        """What became of the batch.

        Args:
            now: monotonic seconds.
        """
        if isinstance(outcome, Intake) and not self._is_about_the_batch(outcome):
            outcome = InvalidAnswer(f"{len(self._flying)} events were sent, the answer is about others: {outcome!r:.200}")
        if isinstance(outcome, Intake):
            self._arrived(outcome)
        elif isinstance(outcome, InvalidRequest):
            self._refused(outcome)
        else:
            self._put_off(outcome, now)
        if self._spool:
            self._spool.tidy([*self._flying, *self._waiting])

    def put_back(self) -> None:
        """The batch was not sent, or nobody knows: it waits again, before all others."""
        self._waiting.extendleft(reversed(self._flying))
        self._flying.clear()

    def close(self) -> None:
        """Let go of the spool; without one, what still waits is given up."""
        self.put_back()
        if self._spool:
            if self._waiting:
                log.warning("%d events were not sent; they wait in %s", len(self._waiting), self._options.spool)
            self._spool.close()
            self._spool = None
        else:
            self._give_up(self._waiting, "unsent", "the buffer was closed before it could be sent")
        self._waiting.clear()

    def reports(self) -> list[Rejection]:
        """The rejections since the last call."""
        reports, self.unreported = self.unreported, []
        return reports

    def _full_with(self, line: Line) -> bool:
        return len(self) >= self._options.capacity or self._bytes + len(line.encoded) > self._options.capacity_bytes

    def _keep(self, line: Line) -> None:
        while self._waiting and self._full_with(line):
            self._give_up([self._waiting.popleft()], "buffer_full", f"{len(self)} events waited")
        self._waiting.append(line)
        self._bytes += len(line.encoded)

    def _is_about_the_batch(self, intake: Intake) -> bool:
        named = {one.index for one in intake.rejected}
        return intake.accepted + len(named) == len(self._flying) and named <= set(range(len(self._flying)))

    def _arrived(self, intake: Intake) -> None:
        if self._failures:
            log.info("events are taken again")
        self._failures, self._batch, self._not_before = 0, self._options.batch, 0.0
        refused = {one.index: one for one in intake.rejected}
        for at, one in refused.items():
            self._report(self._flying[at], one.reason, one.detail)
        self._rejected += len(refused)
        self._accepted += len(self._flying) - len(refused)
        self._drop(self._flying)
        self._flying.clear()

    def _refused(self, error: ApiError) -> None:
        """No event of the batch was taken because of one, or of their number: halves are tried, down to the culprit."""
        if len(self._flying) == 1:
            self._give_up(self._flying, "refused", str(error))
            self._flying.clear()
            self._batch = self._options.batch
        else:
            self._batch = len(self._flying) // 2
            self.put_back()

    def _put_off(self, error: FreshetError, now: float) -> None:
        self.put_back()
        self._failures += 1
        if self._failures == 1:
            log.warning("events cannot be sent now: %s; %d wait", error, len(self._waiting))
        asked = min(_LONGEST_PAUSE, retry_after_of(error))
        self._not_before = now + asked + self._options.retry.jitter(self._failures, JITTER)

    def _give_up(self, lines: Sequence[Line] | deque[Line], reason: str, detail: str) -> None:
        for line in lines:
            self._report(line, reason, detail)
        self._rejected += len(lines)
        self._drop(lines)

    def _drop(self, lines: Iterable[Line]) -> None:
        self._bytes -= sum(len(line.encoded) for line in lines)
        if self._spool and lines:
            self._spool.settle([line.event_id for line in lines])

    def _report(self, line: Line, reason: str, detail: str) -> None:
        self.unreported.append(Rejection(json.loads(line.encoded), reason, detail))
