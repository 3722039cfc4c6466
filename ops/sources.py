"""What a source of events is: a title, a licence, a catalogue, and events in time order; and how recorded ones are read safely."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice
from operator import attrgetter
from tempfile import TemporaryFile
from typing import IO, Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.errors import InvalidInput
from schemas.ids import Id
from schemas.timestamps import EARLIEST_MS, parse_timestamp

JsonObject: TypeAlias = dict[str, Any]
Row = TypeVar("Row")
Parsed = TypeVar("Parsed")

SORTED_IN_MEMORY: Final = 500_000
FAULTS_SHOWN: Final = 5
OWN_LICENCE: Final = "your own file"
_ID: Final = TypeAdapter(Id)
# Numbers from this on are milliseconds: as seconds it would be the year 21970, as milliseconds it is 1990.
_MILLISECONDS_FROM: Final = EARLIEST_MS
_MICROSECONDS_FROM: Final = 100_000_000_000_000
_LATEST_MICROSECONDS: Final = 10**17


class SourceEvent(NamedTuple):
    """One event, ready for its topic.

    Attributes:
        key: user id, the record's key.
        value: the contract's value; its `timestamp` is `timestamp_ms`.
        timestamp_ms: event time, ms since the epoch.
    """

    topic: str
    key: str
    value: JsonObject
    timestamp_ms: int


@dataclass
class RowFaults:
    """Which rows of a source could not be read: how many, and why for the first few."""

    rows: int = 0
    bad: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, line: int, why: object) -> None:
        """Count one bad row, keeping its reason if it is among the first."""
        self.bad += 1
        if len(self.first) < FAULTS_SHOWN:
            self.first.append(f"line {line}: {why}")


class Source(Protocol):
    """Events in time order with their catalogue. Each iterator starts from the beginning every time it is asked for."""

    @property
    def title(self) -> str:
        """What a person calls it."""

    @property
    def licence(self) -> str:
        """Attribution, to be printed wherever the events are used."""

    @property
    def count(self) -> int:
        """Number of events."""

    @property
    def faults(self) -> RowFaults:
        """Rows left out."""

    def events(self) -> Iterator[SourceEvent]:
        """Events, oldest first."""

    def items(self) -> Iterator[JsonObject]:
        """Values of the topic `items`."""

    def users(self) -> Iterator[JsonObject]:
        """Values of the topic `users`."""


@dataclass(frozen=True)
class Survey:
    """What one pass over a recorded source found."""

    count: int
    in_order: bool
    faults: RowFaults


class RecordedSource(ABC, Generic[Row]):
    """A source kept in files: subclasses say what its rows are and how one row becomes an event.

    The first use makes one pass to count events, note bad rows and see whether they are in time order. If they are, `events`
    streams; if not, it sorts (on disk above half a million events).
    """

    title: str
    licence: str

    @abstractmethod
    def rows(self, faults: RowFaults) -> Iterator[tuple[int, Row]]:
        """(line number, row) in file order; unreadable rows go to `faults`."""

    @abstractmethod
    def to_event(self, line: int, row: Row) -> SourceEvent | None:
        """The row's event; None for a row that is a catalogue entry. ValueError: a bad row."""

    def items(self) -> Iterator[JsonObject]:
        """Values of the topic `items`; none unless a subclass has them."""
        return iter(())

    def users(self) -> Iterator[JsonObject]:
        """Values of the topic `users`; none unless a subclass has them."""
        return iter(())

    @property
    def count(self) -> int:
        """Number of good events."""
        return self._survey.count

    @property
    def faults(self) -> RowFaults:
        """Rows left out."""
        return self._survey.faults

    def events(self) -> Iterator[SourceEvent]:
        """Good events, oldest first; those of the same moment in file order.

        Raises:
            InvalidInput: more than half of the rows are bad.
        """
        in_order = self._survey.in_order
        events = self._in_file_order(RowFaults())
        return events if in_order else in_time_order(events)

    def _in_file_order(self, faults: RowFaults) -> Iterator[SourceEvent]:
        return (event for event in good_rows(self.rows(faults), self.to_event, faults) if event is not None)

    @cached_property
    def _survey(self) -> Survey:
        faults, count, newest, in_order = RowFaults(), 0, 0, True
        for event in self._in_file_order(faults):
            count += 1
            in_order &= event.timestamp_ms >= newest
            newest = event.timestamp_ms
        if faults.bad * 2 > faults.rows:
            raise InvalidInput(f"{self.title}: {faults.bad:,} of {faults.rows:,} rows are bad: {'; '.join(faults.first)}")
        return Survey(count, in_order, faults)


def good_rows(rows: Iterable[tuple[int, Row]], parse: Callable[[int, Row], Parsed], faults: RowFaults) -> Iterator[Parsed]:
    """What `parse(line, row)` returns for each row; a ValueError is noted in `faults` and the row left out."""
    for line, row in rows:
        faults.rows += 1
        try:
            parsed = parse(line, row)
        except ValueError as error:
            faults.note(line, error)
            continue
        yield parsed


def in_time_order(events: Iterable[SourceEvent], in_memory: int = SORTED_IN_MEMORY) -> Iterator[SourceEvent]:
    """Sort events by time, stably, with at most `in_memory` of them in memory (the rest in unnamed temporary files)."""
    remaining = iter(events)
    time = attrgetter("timestamp_ms")
    runs: list[Iterator[SourceEvent]] = []
    while run := sorted(islice(remaining, in_memory), key=time):
        if not runs and len(run) < in_memory:
            return iter(run)
        runs.append(_spilled(run))
    return heapq.merge(*runs, key=time)


def _spilled(run: list[SourceEvent]) -> Iterator[SourceEvent]:
    file = TemporaryFile()  # noqa: SIM115 - closed by the reader, which outlives this function
    file.writelines(orjson.dumps(tuple(event), option=orjson.OPT_APPEND_NEWLINE) for event in run)
    file.seek(0)
    return _read_spilled(file)


def _read_spilled(file: IO[bytes]) -> Iterator[SourceEvent]:
    with file:
        for line in file:
            yield SourceEvent(*orjson.loads(line))


@lru_cache(maxsize=200_000)
def checked_id(name: str, value: str) -> str:
    """`valid_id` for ids that come again and again, as users and items do."""
    return valid_id(name, value)


def valid_id(name: str, value: object) -> str:
    """The id itself.

    Raises:
        ValueError: not text, empty, longer than 256 bytes, or with control characters.
    """
    try:
        return _ID.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}={str(value)[:60]!r}: {error.errors()[0]['msg']}") from error


def read_time(value: object) -> int:
    """Milliseconds since the epoch of a number (seconds, milliseconds or microseconds, by its size) or of RFC 3339 with zone.

    Raises:
        ValueError: neither, or before 1990.

    >>> read_time("1362062307"), read_time(1362062307000), read_time("2013-02-28T14:38:27Z")
    (1362062307000, 1362062307000, 1362062307000)
    """
    if isinstance(value, str) and len(value) == 10 and value.isdecimal():
        milliseconds = int(value) * 1000  # the seconds of 2001 to 2286, what nearly every file has
    else:
        milliseconds = _time_of_any_form(value)
    if milliseconds < EARLIEST_MS:
        raise ValueError(f"timestamp {value!r} is before 1990")
    return milliseconds


def _time_of_any_form(value: object) -> int:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return _rfc_3339(value)
    if not abs(number) < _LATEST_MICROSECONDS:  # also catches NaN
        raise ValueError(f"timestamp {value!r} is out of range")
    if number >= _MICROSECONDS_FROM:
        return int(number // 1000)
    return round(number if number >= _MILLISECONDS_FROM else number * 1000)


def _rfc_3339(value: object) -> int:
    try:
        return parse_timestamp(str(value).strip())
    except (ValueError, OverflowError) as error:
        raise ValueError(f"timestamp {str(value)[:60]!r}: {error}") from error


def finite_number(name: str, value: object) -> float:
    """The value as a number.

    Raises:
        ValueError: not a number, or not finite.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r} is not a number") from error
    if number - number != 0:
        raise ValueError(f"{name}={value!r} is not finite")
    return number
