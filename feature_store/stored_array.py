"""One array of the online models as its writer knows it to be stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_store.model_deltas import Words
from feature_store.page_buffer import PageBuffer
from feature_store.page_format import Layout, PageCommits

Array = NDArray[Any]


class StoredArray:
    """A copy of the array, and for each page the commits that `PageCommits` tells of.

    Args:
        layout: of the array. born: the commit that begins it.

    Attributes:
        copy: what the store holds, stored pages and deltas together.
        since: uint32[pages], the oldest delta that the page needs; 0: none, the stored page is what it should be.
    """

    def __init__(self, layout: Layout, born: int) -> None:
        self.copy = PageBuffer(layout)
        self.born = born
        self.changed, self.stored, self.whole, self.since = np.zeros((4, layout.pages), np.uint32)

    @classmethod
    def resume(cls, layout: Layout, commits: PageCommits, array: Array, oldest: int) -> StoredArray:
        """As another writer left it. How far back stale pages reach is not known better than `oldest`, as of `Index`."""
        found = cls(layout, commits.born)
        found.copy.become(array)
        found.changed, found.stored, found.whole = (numbers.astype(np.uint32) for numbers in commits[1:])
        found.since = np.where(found.changed > found.stored, np.maximum(found.stored + 1, oldest), 0).astype(np.uint32)
        return found

    def holds(self, layout: Layout) -> bool:
        """Whether an array of this layout is this one, perhaps with more rows."""
        return self.copy.layout[:2] == layout[:2] and self.copy.layout.rows <= layout.rows

    def become(self, array: Array, layout: Layout, commit: int, only_pages: bool) -> Words:
        """Take over what the array, of this layout, has become in this commit; returns the words for the delta."""
        if layout != self.copy.layout:
            self._grow(layout)
        whole, words = self.copy.become(array, only_pages or commit == self.born)
        if len(words.numbers):
            touched = words.numbers // self.copy.words.shape[1]
            self.changed[touched] = commit
            self.since[touched[self.since[touched] == 0]] = commit
        if len(whole):
            self.changed[whole] = self.whole[whole] = commit
            self.rewrite(whole, commit)
        return words

    def rewrite(self, pages: NDArray[np.int64], commit: int) -> None:
        """These pages are written with what they hold now."""
        self.stored[pages], self.since[pages] = commit, 0

    def commits(self) -> PageCommits:
        """For the index."""
        return PageCommits(self.born, self.changed.copy(), self.stored.copy(), self.whole.copy())

    def _grow(self, layout: Layout) -> None:
        added = np.zeros(layout.pages - len(self.since), np.uint32)
        if len(added):
            names = ("changed", "stored", "whole", "since")
            self.changed, self.stored, self.whole, self.since = (np.append(getattr(self, name), added) for name in names)
        self.copy.grow(layout)
