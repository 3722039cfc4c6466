"""A person's own events in a file: CSV (also `;` or tab separated), JSON lines, or `user::item::rating::time`; each also as .gz."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ops.column_names import NEEDED, Columns, accepted_names, names_of_columns
from ops.event_rows import cells, dat_rows, identity_of, interaction, text_lines
from ops.json_events import JsonEvents
from ops.sources import OWN_LICENCE, JsonObject, RecordedSource, RowFaults, Source, SourceEvent, checked_id, read_time
from schemas.errors import InvalidInput

_NO_COLUMNS: Final[Columns] = {}


def open_file(path: Path) -> Source:
    """The source for a file, by its name's ending.

    Raises:
        InvalidInput: the ending is unknown, the file cannot be read, or needed columns are missing.
    """
    ending = file_kind(path)
    if ending in {".csv", ".tsv"}:
        return CsvEvents(path)
    if ending in {".jsonl", ".ndjson"}:
        return JsonEvents(path)
    if ending == ".dat":
        return DatEvents(path)
    raise InvalidInput(f"{path}: expected a name that ends in .csv, .tsv, .jsonl, .ndjson or .dat, or one of these and .gz")


def file_kind(path: Path) -> str:
    """The name's ending that says what is in the file, lower case, without .gz."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


class CsvEvents(RecordedSource[list[str]]):
    """A table with a header: user, item and time columns; optionally type, value, event_id, session_id, request_id, position.

    Without a type column a row with a rating is a rating and any other a click.

    Args:
        chosen: columns that go by names of their own (see `column_names` for the usual ones).
    """

    licence = OWN_LICENCE

    def __init__(self, path: Path, chosen: Columns = _NO_COLUMNS) -> None:
        self._path = path
        self.title = path.name
        header = next(text_lines(path), "").rstrip("\r\n")
        self._delimiter = max(",;\t", key=header.count)
        names = next(csv.reader([header], delimiter=self._delimiter), [])
        self._columns = _find_columns(path, names, chosen)
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


def _find_columns(path: Path, names: list[str], chosen: Columns) -> dict[str, int]:
    places = {name.strip(): at for at, name in reversed(list(enumerate(names)))}
    found = {column: places[name] for column, name in names_of_columns(places, chosen).items()}
    missing = [column for column in NEEDED if column not in found] or [column for column in chosen if column not in found]
    if missing:
        accepted = "; ".join(f"{column}: {accepted_names(column, chosen)}" for column in missing)
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
