"""One line of a file of slates as a value: a slate that was shown, a click on it, or an item's description.

Two forms are read: RankLens' (`event`: `ranking`, `interaction` or `item`) and the contract's (`impressions`, `clicks`, `items`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from schemas.timestamps import EARLIEST_MS, parse_timestamp

Fields: TypeAlias = Mapping[str, Any]
LONGEST_SLATE: Final = 1000
_TEXTS: Final = ("title", "description")
_CATEGORIES: Final = ("genres", "categories")


class Shown(NamedTuple):
    """A slate; `time` in ms."""

    slate: str
    session: str
    time: int
    items: tuple[str, ...]


class Clicked(NamedTuple):
    """A click on an item of a slate; `time` in ms."""

    slate: str
    item: str
    time: int


class Described(NamedTuple):
    """What is known of an item: text, names of three kinds, numbers by name."""

    item: str
    text: str
    categories: tuple[str, ...]
    tags: tuple[str, ...]
    people: tuple[str, ...]
    numbers: Mapping[str, float]


SlateEvent: TypeAlias = Shown | Clicked | Described


def parse_line(line: bytes) -> SlateEvent | None:
    """The event of one line; None for what is neither slate, click on a slate, nor item (a view, a click without `request_id`).

    Raises:
        ValueError: not JSON, not an object, a field is missing or has a wrong type.
    """
    fields = orjson.loads(line)
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, got {str(fields)[:40]!r}")
    try:
        return _event_of(fields)
    except KeyError as error:
        raise ValueError(f"{error} is missing") from error
    except TypeError as error:
        raise ValueError(f"a field has a wrong type: {error}") from error


def _event_of(fields: Fields) -> SlateEvent | None:
    if "event" in fields:
        read = _RANKLENS.get(fields["event"])
        if read is None:
            raise ValueError(f"event {str(fields['event'])[:40]!r}: expected one of {', '.join(_RANKLENS)}")
        return read(fields)
    if "request_id" in fields and "items" in fields:
        shown = [_text(place["item_id"]) for place in fields["items"]]
        return _shown(fields["request_id"], fields["user_id"], fields["timestamp"], shown)
    if "user_id" in fields:
        return _contract_click(fields)
    return _contract_item(fields)


def _ranking(fields: Fields) -> Shown:
    shown = [_text(place["id"]) for place in fields["items"]]
    return _shown(fields["id"], fields.get("session") or fields["user"], fields["timestamp"], shown)


def _shown(slate: object, session: object, time: object, items: Sequence[str]) -> Shown:
    if not 1 <= len(items) <= LONGEST_SLATE:
        raise ValueError(f"a slate of {len(items)} items; expected 1 to {LONGEST_SLATE}")
    if len(set(items)) < len(items):
        raise ValueError(f"slate {str(slate)[:60]!r} shows an item twice")
    return Shown(_text(slate), _text(session), _time(time), tuple(items))


def _interaction(fields: Fields) -> Clicked:
    return Clicked(_text(fields["ranking"]), _text(fields["item"]), _time(fields["timestamp"]))


def _contract_click(fields: Fields) -> Clicked | None:
    if not fields.get("request_id"):
        return None
    return Clicked(_text(fields["request_id"]), _text(fields["item_id"]), _time(fields["timestamp"]))


def _ranklens_item(fields: Fields) -> Described:
    return _described(fields["item"], {entry["name"]: entry["value"] for entry in fields["fields"]})


def _contract_item(fields: Fields) -> Described:
    return _described(fields["item_id"], {**(fields.get("attributes") or {}), **fields})


def _described(item: object, given: Fields) -> Described:
    """By the kind of each value: `title` and `description` are text, lists are names, numbers are numbers, other text is a name."""
    text = " ".join(given[name] for name in _TEXTS if isinstance(given.get(name), str))
    people: list[str] = []
    numbers: dict[str, float] = {}
    for name, value in given.items():
        if name in (*_TEXTS, *_CATEGORIES, "tags", "item_id"):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            numbers[name] = float(value)
        else:
            people += _names(value)
    categories = [name for field in _CATEGORIES for name in _names(given.get(field))]
    return Described(_text(item), text, tuple(categories), tuple(_names(given.get("tags"))), tuple(people), numbers)


def _names(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected an id, got {str(value)[:60]!r}")
    return value


def _time(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"timestamp {str(value)[:60]!r}: expected milliseconds or RFC 3339")
    time = int(value) if isinstance(value, str) and value.isdecimal() else parse_timestamp(value)
    if time < EARLIEST_MS:
        raise ValueError(f"timestamp {str(value)[:60]!r} is before 1990; expected milliseconds or RFC 3339")
    return time


_RANKLENS: Final[Mapping[str, Callable[[Fields], SlateEvent]]] = {
    "ranking": _ranking,
    "interaction": _interaction,
    "item": _ranklens_item,
}
