"""A person's own events in a file: CSV (also `;` or tab separated), JSON lines, or `user::item::rating::time`; each also as .gz."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ops.event_rows import cells, dat_rows, identity_of, interaction, text_lines
from ops.json_events import JsonEvents
from ops.sources import OWN_LICENCE, JsonObject, RecordedSource, RowFaults, Source, SourceEvent, checked_id, read_time
from schemas.errors import InvalidInput

# Spellings of each column, lower case, without underscores.
_COLUMNS: Final = {
    "user": ("user", "userid"),
    "item": ("item", "itemid", "movieid"),
    "time": ("timestamp", "time", "ts"),
    "type": ("type", "eventtype"),
    "value": ("value", "rating"),
    "event_id": ("eventid",),
    "session_id": ("session", "sessionid"),
    "request_id": ("request", "requestid"),
    "position": ("position",),
}
_NEEDED: Final = ("user", "item", "time")


def open_file(path: Path) -> Source:
    """The source for a file, by its name's ending.

    Raises:
        InvalidInput: the ending is unknown, the file cannot be read, or needed columns are missing.
    """
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending in {".csv", ".tsv"}:
        return CsvEvents(path)
    if ending in {".jsonl", ".ndjson"}:
        return JsonEvents(path)
    if ending == ".dat":
        return DatEvents(path)
    raise InvalidInput(f"{path}: expected a name that ends in .csv, .tsv, .jsonl, .ndjson or .dat, or one of these and .gz")


class CsvEvents(RecordedSource[list[str]]):
    """A table with a header: user, item and time columns; optionally type, value, event_id, session_id, request_id, position.

    Without a type column a row with a rating is a rating and any other a click.
    """

    licence = OWN_LICENCE

    def __init__(self, path: Path) -> None:
        self._path = path
        self.title = path.name
        header = next(text_lines(path), "").rstrip("\r\n")
        self._delimiter = max(",;\t", key=header.count)
        names = next(csv.reader([header], delimiter=self._delimiter), [])
        self._columns = _find_columns(path, names)
        self._width = max(self._columns.values()) + 1

    def rows(self, faults: RowFaults) -> Iterator[tuple[int, list[str]]]:
        """(line number, cells)."""
        reader = csv.reader(text_lines(self._path), delimiter=self._delimiter)
        next(reader)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                faults.rows += 1
                faults.note(reader.line_num, error)
            else:
                if row:
                    yield reader.line_num, row

    def to_event(self, line: int, row: list[str]) -> SourceEvent:
        """The row as a view, click or feedback."""
        if len(row) < self._width:
            raise ValueError(f"{len(row)} cells; the header promises at least {self._width}")
        cells = {name: row[at].strip() for name, at in self._columns.items()}
        given = {name: cell for name, cell in cells.items() if cell}
        kind = given.get("type", "rating" if "value" in given else "click").lower()
        identity = identity_of(given, line, self._delimiter.join(row).encode(errors="surrogateescape"))
        value: JsonObject = {name: checked_id(name, given[name]) for name in ("session_id", "request_id") if name in given}
        if "position" in given:
            value["position"] = int(given["position"])
        time_ms = read_time(cells["time"])
        return interaction(kind, identity, cells["user"], cells["item"], time_ms, given.get("value"), value)


def _find_columns(path: Path, names: list[str]) -> dict[str, int]:
    spelled = {name.strip().lower().replace("_", ""): at for at, name in reversed(list(enumerate(names)))}
    found = {
        column: next(spelled[spelling] for spelling in spellings if spelling in spelled)
        for column, spellings in _COLUMNS.items()
        if any(spelling in spelled for spelling in spellings)
    }
    missing = [column for column in _NEEDED if column not in found]
    if missing:
        accepted = "; ".join(f"{column}: {' or '.join(_COLUMNS[column])}" for column in missing)
        listed = ", ".join(name.strip()[:40] for name in names[:20]) or "none, the file is empty"
        raise InvalidInput(f"{path}: no column for {', '.join(missing)} ({accepted}); columns found: {listed}")
    return found


class DatEvents(RecordedSource[list[str]]):
    """`user::item::rating::epoch seconds` without a header, as MovieLens and MovieTweetings write it; each row is a rating."""

    licence = OWN_LICENCE

    def __init__(self, path: Path) -> None:
        self._path = path
        self.title = path.name

    def rows(self, faults: RowFaults) -> Iterator[tuple[int, list[str]]]:
        """(line number, cells)."""
        return dat_rows(self._path)

    def to_event(self, line: int, row: list[str]) -> SourceEvent:
        """The row as a rating."""
        user, item, rating, time = cells(row, 4)
        identity = identity_of({}, line, "::".join(row).encode(errors="surrogateescape"))
        return interaction("rating", identity, user, item, read_time(time), rating, {})
