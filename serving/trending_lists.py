"""The trending lists of all partitions, kept in this process: they cost a request no round trip, and stay known without a store."""

from __future__ import annotations

import json
import logging
from typing import Final, NamedTuple

from feature_store.keys import LAYOUT, category_trending_key, trending_key
from feature_store.packing import CorruptBlob
from feature_store.trending_blob import Trending, unpack_trending
from serving.guarded_store import GuardedStore
from serving.ranking.trending import NOTHING, Popularity, leaders, merge, mixed
from serving.shelf import Shelf

log = logging.getLogger(__name__)

OVERALL_KEPT: Final = 1000
CATEGORY_KEPT: Final = 60
# Bounds what one refresh costs the event loop; more categories than fit take turns.
_CATEGORY_KEYS_PER_REFRESH: Final = 128

Blobs = tuple[bytes | None, ...]


class Leading(NamedTuple):
    """Popular items, decoded.

    Attributes:
        popularity: all numbers of the merged lists.
        best: item to its mixed popularity relative to the first one's, best first, (0, 1].
    """

    popularity: Popularity
    best: dict[str, float]


EMPTY: Final = Leading(NOTHING, {})


class TrendingLists:
    """Refreshed from the store a few times a second, decoded only when asked for and only when changed.

    Args:
        store: read with `probe`, so a refresh is also what finds out that the store is back.
        shelf: knows the categories.
        partitions: partition count until the store tells the one that the worker wrote with.
    """

    def __init__(self, store: GuardedStore, shelf: Shelf, partitions: int) -> None:
        self._store = store
        self._shelf = shelf
        self._blobs: dict[str | None, Blobs] = {}
        self._decoded: dict[str | None, Leading] = {}
        self._turn = 0
        self.partitions = partitions
        self.loaded = False

    async def refresh(self) -> None:
        """One round trip: the layout, the trending lists, and those categories whose turn it is.

        Raises:
            StoreUnavailable: the lists stay as they were.
        """
        names: list[str | None] = [None, *self._next_categories()]
        partitions = self.partitions
        keys = [LAYOUT, *(key for name in names for key in self._keys(name))]
        layout, *blobs = await self._store.probe(keys)
        if self._adopt(layout):
            await self.refresh()
            return
        for at, name in enumerate(names):
            self._take(name, tuple(blobs[at * partitions : (at + 1) * partitions]))
        self.loaded = True

    def overall(self) -> Leading:
        """What is popular in everything."""
        return self._leading(None, OVERALL_KEPT)

    def category(self, name: str) -> Leading:
        """What is popular in a category; `EMPTY` while that is not known here."""
        return self._leading(name, CATEGORY_KEPT)

    async def fetch_category(self, name: str) -> Leading:
        """The same for any category, with one round trip if it is not among those kept here.

        Raises:
            StoreUnavailable: it had to be asked and does not answer.
        """
        if name in self._blobs or name in self._shelf.categories:
            return self.category(name)
        parts = _decode(tuple(await self._store.read(self._keys(name))))
        return _lead(parts, CATEGORY_KEPT)

    @property
    def stream_time(self) -> int:
        """Newest event time that the lists know of, ms; 0 before any event."""
        return self.overall().popularity.at

    def _keys(self, category: str | None) -> list[bytes]:
        if category is None:
            return [trending_key(partition) for partition in range(self.partitions)]
        return [category_trending_key(partition, category) for partition in range(self.partitions)]

    def _next_categories(self) -> list[str]:
        names = self._shelf.categories
        size = min(len(names), max(1, _CATEGORY_KEYS_PER_REFRESH // self.partitions))
        start, self._turn = self._turn, (self._turn + size) % max(1, len(names))
        return (names + names)[start : start + size]

    def _adopt(self, layout: bytes | None) -> bool:
        """Take over the stored partition count; whether it differed."""
        stored = _partitions_in(layout) if layout is not None else None
        if stored is None or stored == self.partitions:
            return False
        log.warning("the store is laid out for %d partitions, not for %d: using %d", stored, self.partitions, stored)
        self.partitions = stored
        self._blobs.clear()
        self._decoded.clear()
        return True

    def _take(self, name: str | None, blobs: Blobs) -> None:
        if self._blobs.get(name) != blobs:
            self._blobs[name] = blobs
            self._decoded.pop(name, None)

    def _leading(self, name: str | None, limit: int) -> Leading:
        found = self._decoded.get(name)
        if found is None:
            blobs = self._blobs.get(name)
            if blobs is None:
                return EMPTY
            found = self._decoded[name] = _lead(_decode(blobs), limit)
        return found


def _partitions_in(layout: bytes) -> int | None:
    try:
        partitions = json.loads(layout)["partitions"]
    except (ValueError, KeyError, TypeError) as error:
        log.warning("the stored layout cannot be read: %s", error)
        return None
    return partitions if isinstance(partitions, int) and partitions > 0 else None


def _decode(blobs: Blobs) -> list[Trending]:
    parts = []
    for partition, blob in enumerate(blobs):
        if blob is None:
            continue
        try:
            parts.append(unpack_trending(blob))
        except CorruptBlob as error:
            log.warning("trending list of partition %d: %s", partition, error)
    return parts


def _lead(parts: list[Trending], limit: int) -> Leading:
    popularity = merge(parts)
    best = leaders(popularity, mixed(popularity), limit)
    largest = next(iter(best.values()), 1.0)
    return Leading(popularity, {item: score / largest for item, score in best.items()})
