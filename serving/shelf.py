"""What may be shown: the catalogue as a request sees it, and two summaries of it that are kept up to date in the background."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from feature_store.catalogue import Catalogue

CATEGORIES_KEPT: Final = 500
NEWEST_KEPT: Final = 1000
_SLICE: Final = 2000  # entries looked at before other requests get their turn


class Shelf:
    """The catalogue, and whether it can be trusted to be whole.

    Once the whole `items` topic was read and has entries, an item without one is not shown: it was deleted, or is not there yet.
    Where nobody keeps a catalogue (the topic is empty), every item may be shown.

    Args:
        catalogue: kept in step with the `items` topic by somebody else.
        caught_up: set once the catalogue has everything that was in the topic at the start.

    Attributes:
        categories: names of the categories with the most items, most first.
        newest: available items, the latest entry first.
    """

    def __init__(self, catalogue: Catalogue, caught_up: asyncio.Event) -> None:
        self._catalogue = catalogue
        self._caught_up = caught_up
        self.categories: list[str] = []
        self.newest: list[str] = []

    def __len__(self) -> int:
        return len(self._catalogue)

    @property
    def complete(self) -> bool:
        """Whether the catalogue was read to its end."""
        return self._caught_up.is_set()

    @property
    def missing(self) -> bool:
        """Whether there is no catalogue although there may be one: Kafka has not been reached yet."""
        return not self.complete and not len(self._catalogue)

    def may_show(self, item_id: str) -> bool:
        """Whether the item may be recommended."""
        entry = self._catalogue.get(item_id)
        if entry is None:
            return not (self.complete and len(self._catalogue))
        return entry.available

    def title(self, item_id: str) -> str | None:
        """The item's title, if it has one."""
        entry = self._catalogue.get(item_id)
        return entry.title if entry else None

    def name(self, item_id: str) -> str:
        """What to call the item: its title, or its id."""
        return self.title(item_id) or item_id

    def categories_of(self, item_id: str) -> tuple[str, ...]:
        """The item's categories; empty for an unknown item."""
        return self._catalogue.categories(item_id)

    def record(self, item_id: str) -> bytes | None:
        """The item's whole catalogue record as JSON; None if it has none."""
        entry = self._catalogue.get(item_id)
        return entry.raw if entry else None

    async def summarise(self) -> None:
        """Bring `categories` and `newest` up to date, a slice at a time."""
        ids = self._catalogue.item_ids()
        if not self.newest:  # the first answers should not wait for the count
            self.newest = self._latest(ids)
        counts: Counter[str] = Counter()
        for start in range(0, len(ids), _SLICE):
            for item in ids[start : start + _SLICE]:
                counts.update(self._catalogue.categories(item))
            await asyncio.sleep(0)
        self.newest = self._latest(ids)
        self.categories = [name for name, _ in counts.most_common(CATEGORIES_KEPT)]

    def _latest(self, ids: list[str]) -> list[str]:
        latest = [item for item in reversed(ids[-4 * NEWEST_KEPT :]) if self.may_show(item)]
        return latest[:NEWEST_KEPT]
