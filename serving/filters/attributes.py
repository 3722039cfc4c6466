"""What a filter may ask of an item, and of the person it is for.

| attribute | type | of |
|---|---|---|
| item_id, title, description | text | the catalogue's record |
| categories, tags | list | the record; an item without any has an empty list |
| price | number | the record |
| available | true or false | the record |
| created_at | time | the record; compared with RFC 3339 text or epoch ms |
| age_hours, age_days | number | since `created_at` |
| seen, bought, hidden | true or false | what the person did, as far back as their history is kept |
| any other name | whatever it is | the record's `attributes`; `attributes.x` is the same, also for an x of this table |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from schemas.timestamps import parse_timestamp

_HOUR_MS: Final = 3_600_000
TEXT, NUMBER, BOOLEAN, LIST, TIME, ANY = "a text", "a number", "true or false", "a list", "a time", "anything"
Fields = Mapping[str, Any]


class Person(NamedTuple):
    """Items by what the person of the request did with them."""

    seen: frozenset[str] = frozenset()
    bought: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()


NOBODY: Final = Person()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a filter can ask about one item.

    Attributes:
        fields: the catalogue's record as `fields_of` makes it; empty: it has none.
        now_ms: ages are reckoned to this moment.
    """

    item_id: str
    fields: Fields = field(default_factory=dict)
    person: Person = NOBODY
    now_ms: int = 0


def fields_of(raw: bytes) -> Fields:
    """A validated record of the topic `items`, `created_at` as epoch ms, or left out where it is no time.

    >>> fields_of(b'{"item_id": "7", "created_at": "1970-01-01T00:00:01Z"}')["created_at"]
    1000
    """
    fields: dict[str, Any] = {"available": True, "categories": [], "tags": [], **from_json(raw)}
    given = fields.pop("created_at", None)
    if given is not None:
        try:
            fields["created_at"] = parse_timestamp(given)
        except (ValueError, OverflowError):
            return fields
    return fields


Reader = Callable[[Facts], Any]


def _field(name: str) -> Reader:
    return lambda facts: facts.fields.get(name)


def _age(unit_ms: int) -> Reader:
    def age(facts: Facts) -> float | None:
        created = facts.fields.get("created_at")
        return None if created is None else (facts.now_ms - created) / unit_ms

    return age


def _of_person(name: str) -> Reader:
    at = Person._fields.index(name)
    return lambda facts: facts.item_id in facts.person[at]


_KNOWN: Final[dict[str, tuple[str, Reader]]] = {
    "item_id": (TEXT, lambda facts: facts.item_id),
    "title": (TEXT, _field("title")),
    "description": (TEXT, _field("description")),
    "categories": (LIST, _field("categories")),
    "tags": (LIST, _field("tags")),
    "price": (NUMBER, _field("price")),
    "available": (BOOLEAN, _field("available")),
    "created_at": (TIME, _field("created_at")),
    "age_hours": (NUMBER, _age(_HOUR_MS)),
    "age_days": (NUMBER, _age(24 * _HOUR_MS)),
    "seen": (BOOLEAN, _of_person("seen")),
    "bought": (BOOLEAN, _of_person("bought")),
    "hidden": (BOOLEAN, _of_person("hidden")),
}


def type_of(path: tuple[str, ...]) -> str:
    """The type of an attribute; ANY where the catalogue's owner decides."""
    return _KNOWN[path[0]][0] if len(path) == 1 and path[0] in _KNOWN else ANY


def reader(path: tuple[str, ...]) -> Reader:
    """What reads the attribute; it gives None for what is missing."""
    if len(path) == 1 and path[0] in _KNOWN:
        return _KNOWN[path[0]][1]
    steps = path[1:] if path[0] == "attributes" and len(path) > 1 else path

    def read(facts: Facts) -> Any:
        value = facts.fields.get("attributes")
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    return read
