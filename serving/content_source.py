"""What is described alike: the index of `stream_workers/models/online/content.py`, kept in step with this process's catalogue.

Every process follows the catalogue itself (ADR 6), so an item is found as soon as its event has been read, whoever took it or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from pydantic_core import from_json

from feature_store.catalogue import Catalogue
from stream_workers.models.online.content import ContentNeighbours

_SLICE: Final = 100  # items taken over before other requests get their turn, a few ms
_AT_ONCE: Final = 20  # so many a request takes over itself
_TOLD: Final = 3  # words of a reason


class Likeness(NamedTuple):
    """Why an item is like one that somebody took.

    Attributes:
        seed: the item that they took. shared: what both have, as a person reads it.
    """

    seed: str
    shared: Sequence[str]


class ContentSource:
    """Items by what the catalogue says of them.

    Args:
        catalogue: kept up to date by somebody else.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._changed = catalogue.follow()
        self._content = ContentNeighbours()

    def __len__(self) -> int:
        return len(self._content)

    async def refresh(self) -> None:
        """Take over everything that changed, a slice at a time."""
        if self._changed and not len(self._content):
            await asyncio.to_thread(warm_up)
        while self._changed:
            pending = list(self._changed)
            self._changed.clear()
            for start in range(0, len(pending), _SLICE):
                self._update(pending[start : start + _SLICE])
                await asyncio.sleep(0)

    def candidates(self, history: Iterable[str], k: int, exclude: Collection[str] = ()) -> dict[str, float]:
        """Items like those of a history (newest first) to their cosine, best first."""
        if not self._ready():
            return {}
        found, scores = self._content.candidates(list(history), k, exclude)
        return dict(zip(found, scores.tolist(), strict=True))

    def likeness(self, item_id: str, history: Sequence[str]) -> Likeness | None:
        """What an item shares with that of a history that speaks most for it; None: nothing with any."""
        seed = self._content.closest(item_id, history)
        if seed is None:
            return None
        written = {name.casefold(): name for name in self._catalogue.categories(item_id)}
        shared = dict.fromkeys(self._content.shared(item_id, seed))  # a tag may be a word of the title too
        return Likeness(seed, tuple(written.get(text, text) for text in islice(shared, _TOLD)))

    def _ready(self) -> bool:
        """Whether there is anything to ask; the first few changes that wait are taken over before."""
        if not len(self._content):
            return False
        for item_id in list(islice(self._changed, _AT_ONCE)):
            del self._changed[item_id]
            self._update([item_id])
        return True

    def _update(self, items: Iterable[str]) -> None:
        for item_id in items:
            entry = self._catalogue.get(item_id)
            if entry is None:
                self._content.remove(item_id)
            else:
                tags = from_json(entry.raw).get("tags", ()) if entry.raw else ()
                self._content.put(item_id, entry.categories, tags, entry.title)


def warm_up() -> None:
    """Ask once, so that no request waits for the compiler."""
    content = ContentNeighbours()
    for item_id in ("one", "other"):
        content.put(item_id, ["category"])
    content.similar("one", 1)
    content.closest("one", ["other"])
    content.remove("one")
