"""What filters and rerankers know of items: the catalogue's records, decoded once while they stay the same."""

from __future__ import annotations

from typing import Final

from serving.filters.attributes import Facts, Fields, Person, fields_of
from serving.shelf import Shelf

_KEPT: Final = 20_000
_NOTHING: Final[Fields] = {}


class ItemFacts:
    """Records of the catalogue as filters read them; those decoded last are kept.

    Args:
        shelf: has the records.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._decoded: dict[str, tuple[bytes, Fields]] = {}

    def of(self, item_id: str, person: Person, now_ms: int) -> Facts:
        """What can be asked of an item for this person at this moment."""
        return Facts(item_id, self._fields(item_id), person, now_ms)

    def terms(self, item_id: str) -> tuple[str, ...]:
        """The item's categories and tags."""
        fields = self._fields(item_id)
        return (*fields.get("categories", ()), *fields.get("tags", ()))

    def _fields(self, item_id: str) -> Fields:
        raw = self._shelf.record(item_id)
        if not raw:
            return _NOTHING
        held = self._decoded.get(item_id)
        if held is not None and held[0] is raw:
            return held[1]
        if len(self._decoded) >= _KEPT:
            del self._decoded[next(iter(self._decoded))]
        fields = fields_of(raw)
        self._decoded[item_id] = (raw, fields)
        return fields


class FactsFor(dict[str, Facts]):
    """What can be asked of items for one person at one moment, found when it is asked for: most lists need it of few or of none."""

    def __init__(self, facts: ItemFacts, person: Person, now_ms: int) -> None:
        super().__init__()
        self._facts, self._person, self._now_ms = facts, person, now_ms

    def __missing__(self, item_id: str) -> Facts:
        found = self[item_id] = self._facts.of(item_id, self._person, self._now_ms)
        return found
