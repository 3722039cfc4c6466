"""The catalogue in memory: what every process knows about items, fed from the compacted `items` topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from schemas.errors import InvalidEvent
from schemas.events import Item

_LATEST_YEAR: Final = 9999


class CatalogueEntry(NamedTuple):
    """What is needed of an item on every request.

    Attributes:
        categories: names, in the catalogue's order.
        available: whether it may be recommended.
        raw: the whole record as JSON, for pages that show an item.
        year: attribute of that name; None: it has none.
    """

    title: str | None
    categories: tuple[str, ...]
    available: bool
    raw: bytes
    year: int | None = None

    @property
    def dated_title(self) -> str | None:
        """See `dated_title`."""
        return dated_title(self.title, self.year)


class Catalogue:
    """Item id to entry. Apply the records of `items` in their order; a later record replaces an earlier one.

    >>> catalogue = Catalogue()
    >>> catalogue.apply(b"7", b'{"item_id": "7", "title": "Alien", "categories": ["Horror"]}')
    >>> catalogue["7"].categories
    ('Horror',)
    >>> catalogue.apply(b"7", None)
    >>> "7" in catalogue
    False
    """

    def __init__(self, keep_raw: bool = True) -> None:
        self._entries: dict[str, CatalogueEntry] = {}
        self._keep_raw = keep_raw
        self._watching: list[set[str]] = []
        self._followed: list[dict[str, None]] = []

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._entries

    def __getitem__(self, item_id: str) -> CatalogueEntry:
        return self._entries[item_id]

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, item_id: str) -> CatalogueEntry | None:
        """The entry, or None for an item the catalogue does not know."""
        return self._entries.get(item_id)

    def categories(self, item_id: str) -> tuple[str, ...]:
        """The item's categories; empty for an unknown item."""
        entry = self._entries.get(item_id)
        return entry.categories if entry else ()

    def item_ids(self) -> list[str]:
        """All item ids, oldest entry first."""
        return list(self._entries)

    def watch(self) -> set[str]:
        """A set to which the id of every item is added when its entry comes or changes; the caller empties it."""
        changed: set[str] = set()
        self._watching.append(changed)
        return changed

    def follow(self) -> dict[str, None]:
        """The ids of all items now and of every item whose entry comes, changes or goes, in the order of their last change; the
        caller takes them out."""
        changed = dict.fromkeys(self._entries)
        self._followed.append(changed)
        return changed

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Apply one record of `items`.

        Raises:
            InvalidEvent: the record is not an item; the catalogue is unchanged.
        """
        if value is None:
            if key is not None:
                self._entries.pop(key.decode(errors="replace"), None)
                self._note(key.decode(errors="replace"))
            return
        item = parse_item(value)
        raw = value if self._keep_raw else b""
        # Interned: a million films share twenty genres.
        self._entries[item.item_id] = CatalogueEntry(
            item.title, _interned(item.categories), item.available, raw, year_of(item.attributes)
        )
        for changed in self._watching:
            changed.add(item.item_id)
        self._note(item.item_id)

    def _note(self, item_id: str) -> None:
        for changed in self._followed:
            changed.pop(item_id, None)
            changed[item_id] = None


def year_of(attributes: Mapping[str, Any]) -> int | None:
    """The attribute `year`, if it is one."""
    year = attributes.get("year")
    return year if type(year) is int and 0 < year <= _LATEST_YEAR else None


def dated_title(title: str | None, year: int | None) -> str | None:
    """The title as the online models are told of it: its year, where it is known, stands in brackets at the end.

    >>> dated_title("Alien", 1979), dated_title("Alien", None)
    ('Alien (1979)', 'Alien')
    """
    return title if year is None else f"{title or ''} ({year:04})"


_NAMES: dict[str, str] = {}
_SETS: dict[tuple[str, ...], tuple[str, ...]] = {}
_SETS_KEPT = 10_000


def _interned(names: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(_NAMES.setdefault(name, name) for name in dict.fromkeys(names))
    return _SETS.setdefault(found, found) if len(_SETS) < _SETS_KEPT else _SETS.get(found, found)


def parse_item(value: bytes) -> Item:
    """Decode and validate one value of `items`.

    Raises:
        InvalidEvent: `not_json` or `invalid`.
    """
    try:
        return Item.model_validate_json(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        reason = "not_json" if fault["type"] == "json_invalid" else "invalid"
        where = ".".join(map(str, fault["loc"])) or "value"
        raise InvalidEvent(reason, f"{where}={str(fault['input'])[:60]!r}: {fault['msg']}") from error
