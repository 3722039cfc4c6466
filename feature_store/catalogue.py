"""The catalogue in memory: what every process knows about items, fed from the compacted `items` topic."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

from schemas.errors import InvalidEvent
from schemas.events import Item


class CatalogueEntry(NamedTuple):
    """What is needed of an item on every request.

    Attributes:
        categories: names, in the catalogue's order.
        available: whether it may be recommended.
        raw: the whole record as JSON, for pages that show an item.
    """

    title: str | None
    categories: tuple[str, ...]
    available: bool
    raw: bytes


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

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Apply one record of `items`.

        Raises:
            InvalidEvent: the record is not an item; the catalogue is unchanged.
        """
        if value is None:
            if key is not None:
                self._entries.pop(key.decode(errors="replace"), None)
            return
        item = parse_item(value)
        raw = value if self._keep_raw else b""
        # Interned: a million films share twenty genres.
        self._entries[item.item_id] = CatalogueEntry(item.title, _interned(item.categories), item.available, raw)


_NAMES: dict[str, str] = {}


def _interned(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_NAMES.setdefault(name, name) for name in dict.fromkeys(names))


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
