"""Slates from events: of a file, or of impressions and clicks that are joined by their request id."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

import numpy as np

from batch.slates.columns import I64, NEVER, NO_ITEM, ItemContent, Slates
from batch.slates.events import Clicked, Described, Shown, SlateEvent, parse_line
from schemas.errors import InvalidInput

FILES: Final = ("events.jsonl.gz", "events.jsonl")
_FAULTS_SHOWN: Final = 5
_LATEST_MS: Final = 10**16


class Faults(NamedTuple):
    """What was left out: how many of `lines`, and why for the first few."""

    lines: int
    bad: int
    first: tuple[str, ...]


class Reading(NamedTuple):
    """Slates and what could not be read on the way."""

    slates: Slates
    faults: Faults


def events_file(path: Path) -> Path:
    """The file itself, or the events file in a folder.

    Raises:
        InvalidInput: there is none.
    """
    found = [path / name for name in FILES if (path / name).is_file()] if path.is_dir() else [path]
    if not found:
        raise InvalidInput(f"{path} has neither {' nor '.join(FILES)}; expected a folder with one of them, or a file")
    if not found[0].is_file():
        raise InvalidInput(f"there is no file {str(path)!r}; expected an events file (.jsonl or .jsonl.gz) or its folder")
    return found[0]


def read_slates(path: Path) -> Reading:
    """All slates of an events file: JSON lines, RankLens' or the contract's, `.gz` too.

    Raises:
        InvalidInput: no such file, not readable as its name says, more than half of the lines are bad, or no slate or no click.
    """
    file = events_file(path)
    try:
        with cast("IO[bytes]", gzip.open(file) if file.suffix == ".gz" else file.open("rb")) as lines:
            return slates_of((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{file} cannot be read: {error}; expected JSON lines{', gzipped' * (file.suffix == '.gz')}") from error
    except InvalidInput as error:
        raise InvalidInput(f"{file}: {error}") from error


def slates_of(lines: Iterable[tuple[int, bytes]]) -> Reading:
    """Slates of numbered JSON lines. Slates of one moment keep their order; nothing else depends on the order of lines.

    A click counts once, at its first time; clicks on a slate or item that was not shown, or before it was, are left out as faults.

    Raises:
        InvalidInput: more than half of the lines are bad, or there is no slate or no click.
    """
    notes = _Notes()
    events = list(_parsed(lines, notes))
    if notes.bad * 2 > notes.lines:
        raise InvalidInput(f"{notes.bad:,} of {notes.lines:,} lines are bad: {'; '.join(notes.first)}")
    shown = _first_of_each(events, notes)
    times = _click_times(events, shown, notes)
    if not shown or not times:
        raise InvalidInput(f"{len(shown):,} slates and {len(times):,} clicks on them; expected at least one of each")
    described = {event.item: event for _, event in events if isinstance(event, Described)}
    return Reading(_columns(sorted(shown.values(), key=lambda slate: slate.time), times, described), notes.faults())


class _Notes:
    """Counts lines and what is wrong with some."""

    def __init__(self) -> None:
        self.lines = 0
        self.bad = 0
        self.first: list[str] = []

    def add(self, line: int, why: object) -> None:
        self.bad += 1
        if len(self.first) < _FAULTS_SHOWN:
            self.first.append(f"line {line}: {why}")

    def faults(self) -> Faults:
        return Faults(self.lines, self.bad, tuple(self.first))


def _parsed(lines: Iterable[tuple[int, bytes]], notes: _Notes) -> Iterator[tuple[int, SlateEvent]]:
    for number, line in lines:
        notes.lines += 1
        try:
            event = parse_line(line)
        except (ValueError, OverflowError) as error:
            notes.add(number, error)
            continue
        if isinstance(event, Shown | Clicked) and event.time > _LATEST_MS:
            notes.add(number, f"timestamp {event.time} is no time in milliseconds")
        elif event is not None:
            yield number, event


def _first_of_each(events: Iterable[tuple[int, SlateEvent]], notes: _Notes) -> dict[str, Shown]:
    shown: dict[str, Shown] = {}
    for number, event in events:
        if isinstance(event, Shown) and shown.setdefault(event.slate, event) is not event:
            notes.add(number, f"slate {event.slate[:60]!r} was there before")
    return shown


def _click_times(events: Iterable[tuple[int, SlateEvent]], shown: Mapping[str, Shown], notes: _Notes) -> dict[tuple[str, str], int]:
    """(slate, item) to the first time it was clicked."""
    times: dict[tuple[str, str], int] = {}
    for number, event in events:
        if not isinstance(event, Clicked):
            continue
        slate = shown.get(event.slate)
        if slate is None or event.item not in slate.items or event.time < slate.time:
            notes.add(number, f"a click on item {event.item[:60]!r}, which slate {event.slate[:60]!r} had not shown by then")
            continue
        key = event.slate, event.item
        times[key] = min(times.get(key, event.time), event.time)
    return times


def _columns(shown: list[Shown], times: Mapping[tuple[str, str], int], described: Mapping[str, Described]) -> Slates:
    row_of = {item: row for row, item in enumerate(dict.fromkeys((*described, *(item for slate in shown for item in slate.items))))}
    session_of = {session: row for row, session in enumerate(dict.fromkeys(slate.session for slate in shown))}
    width = max(len(slate.items) for slate in shown)
    items = np.full((len(shown), width), NO_ITEM, np.int64)
    clicks = np.full((len(shown), width), NEVER, np.int64)
    for at, slate in enumerate(shown):
        items[at, : len(slate.items)] = [row_of[item] for item in slate.items]
        clicks[at, : len(slate.items)] = [times.get((slate.slate, item), NEVER) for item in slate.items]
    return Slates(
        items,
        clicks,
        _column([slate.time for slate in shown]),
        _column([session_of[slate.session] for slate in shown]),
        tuple(slate.slate for slate in shown),
        tuple(session_of),
        _content(tuple(row_of), described),
    )


def _column(values: list[int]) -> I64:
    return np.array(values, np.int64)


def _content(ids: tuple[str, ...], described: Mapping[str, Described]) -> ItemContent:
    rows = [described.get(item, Described(item, "", (), (), (), {})) for item in ids]
    names = tuple(sorted({name for row in rows for name in row.numbers}))
    table = [[row.numbers.get(name, np.nan) for name in names] for row in rows]
    numbers = np.array(table, np.float64).reshape(len(ids), len(names))
    return ItemContent(
        ids,
        tuple(row.text for row in rows),
        tuple(row.categories for row in rows),
        tuple(row.tags for row in rows),
        tuple(row.people for row in rows),
        np.where(np.isfinite(numbers), numbers, np.nan),
        names,
    )
