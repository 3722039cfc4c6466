"""A file of JSON lines: events as in the contract, items, users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson

from ops.column_names import NEEDED, Columns, accepted_names, names_of_columns
from ops.event_rows import identity_of, interaction, raw_lines
from ops.sources import OWN_LICENCE, JsonObject, RecordedSource, RowFaults, SourceEvent, checked_id, good_rows, read_time
from schemas.events import TOPIC_OF_TYPE
from schemas.topics import CLICKS, FEEDBACK, IMPRESSIONS, ITEMS, USERS, VIEWS

_CONTRACT_NAMES: Final = {"user": "user_id", "item": "item_id", "time": "timestamp"}
_FIXED_TYPE: Final = {VIEWS: "view", CLICKS: "click"}
_TOPICS: Final = (VIEWS, CLICKS, FEEDBACK, IMPRESSIONS, ITEMS, USERS)


class JsonEvents(RecordedSource[bytes]):
    """One JSON object a line: an event as in the contract plus `topic` or `type`, or a catalogue entry (an item, a user)."""

    licence = OWN_LICENCE

    def __init__(self, path: Path) -> None:
        self._path = path
        self.title = path.name
        next(raw_lines(path), None)  # an unreadable file fails here, not in the middle of a replay

    def rows(self, faults: RowFaults) -> Iterator[tuple[int, bytes]]:
        """(line number, line)."""
        for number, line in enumerate(raw_lines(self._path), start=1):
            if line.strip():
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line

    def to_event(self, line: int, row: bytes) -> SourceEvent | None:
        """The line as an event; None for a catalogue entry."""
        fields, topic = self.read(row)
        if topic in {ITEMS, USERS}:
            return None
        time_ms = read_time(_needed(fields, "timestamp"))
        user = _id_of(fields, "user_id")
        if topic == IMPRESSIONS:
            return _impression(fields, user, time_ms)
        kind = str(_FIXED_TYPE.get(topic) or _needed(fields, "type"))
        identity = identity_of(fields, line, row)
        rest = {name: value for name, value in fields.items() if name not in {"topic", "type", "value"}}
        return interaction(kind, identity, user, _id_of(fields, "item_id"), time_ms, fields.get("value"), rest)

    def read(self, row: bytes) -> tuple[JsonObject, str]:
        """The line's fields, named as in the contract, and its topic. ValueError: neither an event nor a catalogue entry."""
        return _fields_and_topic(json_object(row))

    def items(self) -> Iterator[JsonObject]:
        """The file's item lines."""
        return self._catalogue(ITEMS)

    def users(self) -> Iterator[JsonObject]:
        """The file's user lines."""
        return self._catalogue(USERS)

    def _catalogue(self, wanted: str) -> Iterator[JsonObject]:
        id_name = "item_id" if wanted == ITEMS else "user_id"
        lines = good_rows(self.rows(RowFaults()), lambda _, row: self.read(row), RowFaults())
        return ({**fields, id_name: _id_of(fields, id_name)} for fields, topic in lines if topic == wanted)


class JsonTable(JsonEvents):
    """JSON lines as a table: the fields may have any of the usual names (`column_names`), or those that are chosen.

    Lines with a user, an item and a time need no topic and no type: with a rating they are ratings, else clicks.
    """

    def __init__(self, path: Path, chosen: Columns) -> None:
        super().__init__(path)
        self._chosen = chosen

    def read(self, row: bytes) -> tuple[JsonObject, str]:
        """The line's fields, renamed as in the contract, and its topic."""
        given = json_object(row)
        columns = names_of_columns(given, self._chosen)
        names = {name: _CONTRACT_NAMES.get(column, column) for column, name in columns.items()}
        fields = {names.get(name, name): value for name, value in given.items()}
        if "topic" not in fields and "type" not in fields and len(columns.keys() & {"user", "item", "time"}) > 1:
            self._refuse_missing(given, columns)
            fields["type"] = "click" if fields.get("value") is None else "rating"
        return _fields_and_topic(fields)

    def _refuse_missing(self, given: JsonObject, columns: Columns) -> None:
        for column in NEEDED:
            if column not in columns:
                names = ", ".join(list(given)[:20])
                raise ValueError(f"no {column} ({accepted_names(column, self._chosen)}) among the fields {names}")


def json_object(row: bytes) -> JsonObject:
    """The line as an object. ValueError: not JSON, or not an object."""
    fields = orjson.loads(row)  # JSONDecodeError is a ValueError
    if not isinstance(fields, dict):
        raise ValueError(f"expected an object, not {row[:40]!r}")
    return fields


def _fields_and_topic(fields: JsonObject) -> tuple[JsonObject, str]:
    """The line's fields (without `topic`) and its topic; ids of catalogue lines are checked."""
    topic = _topic_of(fields)
    fields.pop("topic", None)
    if topic in {ITEMS, USERS}:
        _id_of(fields, "item_id" if topic == ITEMS else "user_id")
    return fields, topic


def _topic_of(fields: JsonObject) -> str:
    topic = fields.get("topic")
    if topic is None and "type" in fields:
        topic = TOPIC_OF_TYPE.get(str(fields["type"]), f"type {fields['type']!r}")
    if topic is None and "timestamp" not in fields:
        topic = ITEMS if "user_id" not in fields else USERS
    if topic not in _TOPICS:
        raise ValueError(f"{topic or 'neither topic nor type'}: expected a topic of {', '.join(_TOPICS)}, or an event type")
    return str(topic)


def _needed(fields: JsonObject, name: str) -> object:
    if fields.get(name) is None:
        raise ValueError(f"{name} is missing")
    return fields[name]


def _id_of(fields: JsonObject, name: str) -> str:
    """The id as text: many exports write numeric ids as numbers, the contract wants strings."""
    value = _needed(fields, name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name}={str(value)[:60]!r} is neither a string nor an integer")
    return checked_id(name, str(value))


def _impression(fields: JsonObject, user: str, time_ms: int) -> SourceEvent:
    if not isinstance(fields.get("items"), list):
        raise ValueError("items: expected the list of items shown")
    request = _id_of(fields, "request_id")
    return SourceEvent(IMPRESSIONS, user, {**fields, "request_id": request, "user_id": user, "timestamp": time_ms}, time_ms)
