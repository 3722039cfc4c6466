"""What the catalogue says of items, most of which nobody may ever take: it costs a dictionary entry and 69 bytes beside the id."""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

import numpy as np

from stream_workers.models.online.title_words import WORDS, replace_words, word_hashes
from stream_workers.models.online.world import CATEGORIES, Content

_YEAR: Final = re.compile(r"\((\d{4})\)\s*$")
_ENTRY: Final = Struct(f"<{CATEGORIES}h{WORDS}hf")


class Descriptions:
    """Item id to category codes, title words and year.

    >>> known = Descriptions()
    >>> known.put("tt1", [3, 5], "Alien (1979)")
    >>> known.get("tt1")
    (3, 5, -1, -1, -1, -1, -1, -1, 16969, -1, -1, -1, -1, -1, -1, -1, 1979.0)
    """

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}

    def put(self, item_id: str, categories: list[int], title: str | None) -> None:
        """Take over an item, at most 8 categories; a year in brackets at the end of the title is its year."""
        found = _YEAR.search(title or "")
        codes, words = (categories + [-1] * CATEGORIES)[:CATEGORIES], (word_hashes(title) + [-1] * WORDS)[:WORDS]
        self._entries[item_id] = _ENTRY.pack(*codes, *words, float(found[1]) if found else 0.0)

    def get(self, item_id: str) -> tuple[float, ...] | None:
        """Category codes and title words (-1: none), eight each, and the year (0: unknown); None: it was not described."""
        entry = self._entries.get(item_id)
        return None if entry is None else _ENTRY.unpack(entry)

    def fill(self, content: Content, code: int, item_id: str) -> None:
        """Write what is known of the item into its row of `content`; the words it had before no longer count."""
        entry = self.get(item_id)
        if entry is not None:
            content.categories[code], content.year[code] = entry[:CATEGORIES], entry[-1]
            replace_words(content.words, content.items_with, code, np.array(entry[CATEGORIES:-1], np.int32))
