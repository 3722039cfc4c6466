"""Plays a source into Kafka: the catalogue, then the events in time order, at the speed they had, faster, or without a limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

import orjson

from ops.kafka_address import required_servers
from ops.sender import NotDelivered, Sender
from ops.sources import JsonObject, Source, SourceEvent
from ops.topics import create_topics
from schemas.errors import InvalidInput, KafkaUnavailable
from schemas.settings import Settings
from schemas.topics import ITEMS, USERS

Say = Callable[[str], None]
Tick = Callable[[int, int], None]

AS_FAST_AS_IT_GOES: Final = math.inf
_TICK_EVERY: Final = 500
_LONGEST_WAIT_SECONDS: Final = 0.25
_NOT_WORTH_WAITING_SECONDS: Final = 0.001


class ReplayReport(NamedTuple):
    """What a replay did; every event and item in it was acknowledged by Kafka.

    Attributes:
        seconds: for the events alone.
        rejected_lines: rows of the source that could not be read.
    """

    events: int
    items: int
    seconds: float
    rejected_lines: int


def parse_speed(text: str) -> float:
    """How many times faster than they happened: `real` is 1, `max` has no limit, `60` or `60x` is sixty times.

    Raises:
        InvalidInput: none of these.

    >>> parse_speed("real"), parse_speed("60x"), parse_speed("max")
    (1.0, 60.0, inf)
    """
    names = {"real": 1.0, "max": AS_FAST_AS_IT_GOES}
    if text in names:
        return names[text]
    with suppress(ValueError):
        speed = float(text.removesuffix("x"))
        if 0 < speed < math.inf:
            return speed
    raise InvalidInput(f"--speed {text!r}: expected real, max, or how many times faster, such as 60")


def replay(
    settings: Settings,
    source: Source,
    speed: float,
    limit: int | None,
    skip_items: bool,
    shift_to_now: bool,
    say: Say,
    start: int = 0,
    tick: Tick = lambda done, total: None,
) -> ReplayReport:
    """Send a source's catalogue and events; topics that are missing are created.

    Args:
        speed: times real time, > 0; infinity for as fast as it goes.
        limit: at most this many events; None for all.
        skip_items: leave out the catalogue (items and users).
        shift_to_now: shift all times so that the last of these events happens now.
        say: takes one line for a person.
        start: the event to begin with, counted from 0.
        tick: is told (events sent, events in all) several times a second.

    Raises:
        InvalidInput: `start` is behind the last event, or the source is unreadable.
        KafkaUnavailable: not reached, or not everything was acknowledged; says how to continue.
        LayoutMismatch: see `create_topics`.
        KeyboardInterrupt: after what was sent is acknowledged and how to continue is said.
    """
    servers = required_servers(settings)
    total = _selected_count(source, start, limit)
    _announce(source, start, total, say)
    create_topics(settings, say)
    shift_ms = _shift_to_now(source, start, total) if shift_to_now else 0
    sender = Sender(servers)
    items = 0 if skip_items else _send_catalogue(sender, source, shift_ms)
    run = _Run(sender, speed, start, total, tick)
    begun = time.monotonic()
    _send_events(run, source, shift_ms, say)
    return ReplayReport(total, items, time.monotonic() - begun, source.faults.bad)


def _selected_count(source: Source, start: int, limit: int | None) -> int:
    if start < 0 or (limit is not None and limit < 0):
        raise InvalidInput("--from and --limit must not be negative")
    if start and start >= source.count:
        raise InvalidInput(f"--from {start}: {source.title} has {source.count:,} events, counted from 0")
    left = source.count - start
    return left if limit is None else min(limit, left)


def _selected(source: Source, start: int, total: int) -> Iterator[SourceEvent]:
    return islice(source.events(), start, start + total)


def _announce(source: Source, start: int, total: int, say: Say) -> None:
    part = "" if total == source.count else f", of which {total:,} from number {start}"
    say(f"{source.title}: {source.count:,} events{part}")
    say(f"licence: {source.licence}")
    if source.faults.bad:
        say(f"{source.faults.bad:,} of {source.faults.rows:,} rows are bad and left out; the first:")
        for fault in source.faults.first:
            say(f"  {fault}")


def _shift_to_now(source: Source, start: int, total: int) -> int:
    """Milliseconds from the last selected event until now; 0 without events."""
    last_ms = None
    for event in _selected(source, start, total):
        last_ms = event.timestamp_ms
    return 0 if last_ms is None else time.time_ns() // 1_000_000 - last_ms


def _send_catalogue(sender: Sender, source: Source, shift_ms: int) -> int:
    """Send items and users and wait for their acknowledgement; the number of items."""
    items = 0
    for item in source.items():
        sender.send(ITEMS, item["item_id"], orjson.dumps(_created_at_shifted(item, shift_ms)), items)
        items += 1
    for number, user in enumerate(source.users(), start=items):
        sender.send(USERS, user["user_id"], orjson.dumps(user), number)
    sender.finish()
    return items


def _created_at_shifted(item: JsonObject, shift_ms: int) -> JsonObject:
    created = item.get("created_at")
    return {**item, "created_at": created + shift_ms} if isinstance(created, int) and shift_ms else item


class _Run:
    """The sending of the events, and how far it has come.

    Attributes:
        reached: number of the first event that was not handed to Kafka yet.
        total: how many events there are to send.
    """

    def __init__(self, sender: Sender, speed: float, start: int, total: int, tick: Tick) -> None:
        self.sender = sender
        self.reached = start
        self._speed = speed
        self._start = start
        self.total = total
        self._tick = tick
        self._begun = 0.0
        self._first_ms: int | None = None

    def send_all(self, events: Iterator[SourceEvent], shift_ms: int) -> None:
        """Hand over every event at its time, until one is known to be lost."""
        paced = self._speed < AS_FAST_AS_IT_GOES
        for event in events:
            if paced:
                self._wait_for(event.timestamp_ms)
            if self.sender.failing:
                return
            value = event.value
            value["timestamp"] += shift_ms
            self.sender.send(event.topic, event.key, orjson.dumps(value), self.reached)
            self.reached += 1
            if self.reached % _TICK_EVERY == 0:
                self.show()

    def show(self) -> None:
        """Tell how far it has come."""
        self._tick(self.reached - self._start, self.total)

    def _wait_for(self, timestamp_ms: int) -> None:
        """Sleep until it is this event's turn, counted from the first event."""
        if self._first_ms is None:
            self._first_ms, self._begun = timestamp_ms, time.monotonic()
        due = self._begun + (timestamp_ms - self._first_ms) / 1000 / self._speed
        while (ahead := due - time.monotonic()) > _NOT_WORTH_WAITING_SECONDS and not self.sender.failing:
            self.sender.wait(min(ahead, _LONGEST_WAIT_SECONDS))
            self.show()


def _send_events(run: _Run, source: Source, shift_ms: int, say: Say) -> None:
    try:
        run.send_all(_selected(source, run.reached, run.total), shift_ms)
        run.sender.finish()
        run.show()
    except KeyboardInterrupt:
        _settle(run, say)
        raise
    except NotDelivered as error:
        raise _continuable(error) from error


def _settle(run: _Run, say: Say) -> None:
    """After Ctrl-C: wait for Kafka's answers to what was sent, and say how to go on. A second Ctrl-C does not wait."""
    say("stopping: waiting for Kafka to acknowledge what was sent (Ctrl-C again: do not wait)")
    try:
        run.sender.finish()
    except NotDelivered as error:
        raise _continuable(error) from error
    say(f"stopped: events up to number {run.reached - 1} are in Kafka; continue with --from {run.reached} (and --skip-items)")


def _continuable(error: NotDelivered) -> KafkaUnavailable:
    return KafkaUnavailable(f"{error}. Everything before it is in Kafka; continue with --from {error.first}")
