"""One array in whole pages of 8-byte words, zeros behind its last row: what pages and deltas are taken from and written into."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.model_deltas import Words
from feature_store.page_format import Layout

Array = NDArray[Any]
_BLOCK_WORDS: Final = 1 << 16  # compared at once: few enough for the processor's cache
_DENSE: Final = 3  # a page goes whole if more than a third of its words changed: as words they may take half of its bytes


class Change(NamedTuple):
    """What differs in an array: pages that changed so much that they go whole, and the changed words of all others."""

    whole: NDArray[np.int64]
    words: Words


_SAME: Final = Change(np.zeros(0, np.int64), Words(np.zeros(0, np.int64), np.zeros(0, np.uint64)))


class PageBuffer:
    """Room for an array.

    Attributes:
        layout: of the array. words: uint64[pages, words of a page].
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.words: NDArray[np.uint64] = np.zeros((layout.pages, layout.page_words), np.uint64)

    @property
    def array(self) -> Array:
        """The rows, as a view."""
        layout = self.layout
        octets = self.words.reshape(-1).view(np.uint8)[: layout.rows * layout.row_bytes]
        return octets.view(layout.dtype).reshape(layout.rows, *layout.row_shape)

    def grow(self, layout: Layout) -> None:
        """Become as long as this layout of the same kind says; the new rows are zeros."""
        if layout.pages > len(self.words):
            room = PageBuffer(layout)
            room.words[: len(self.words)] = self.words
            self.words = room.words
        self.layout = layout

    def page(self, page: int) -> bytes:
        """The content of a page."""
        content: bytes = self.words[page].tobytes()
        return content

    def put_page(self, page: int, content: bytes) -> None:
        """Replace a page; behind the content come zeros."""
        octets = self.words[page].view(np.uint8)
        octets[: len(content)] = np.frombuffer(content, np.uint8)
        octets[len(content) :] = 0

    def put_words(self, words: Words) -> None:
        """Replace words."""
        self.words.reshape(-1)[words.numbers] = words.values

    def become(self, current: Array, only_pages: bool = False) -> Change:
        """Take over an array of the same layout; returns what was different.

        Args:
            only_pages: every page that changed at all goes whole.
        """
        now = _as_words(current)
        kept, size = self.words.reshape(-1)[: len(now)], self.words.shape[1]
        step = max(1, _BLOCK_WORDS // size) * size if size else 1
        blocks = [_take_over(kept, now, slice(first, first + step), size, only_pages) for first in range(0, len(now), step)]
        found = [block for block in blocks if block is not None]
        if not found:
            return _SAME
        whole, numbers, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Change(whole, Words(numbers, values))


def _take_over(
    kept: NDArray[np.uint64], now: NDArray[np.uint64], block: slice, size: int, only_pages: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]] | None:
    """A few pages of `size` words: which go whole, numbers and values of the other changed words; None: nothing changed."""
    numbers = np.flatnonzero(kept[block] != now[block])
    if not len(numbers):
        return None
    numbers += block.start
    pages = np.arange(block.start // size, numbers[-1] // size + 2)
    ends = np.searchsorted(numbers, pages * size)
    each = ends[1:] - ends[:-1]
    goes_whole = each > (0 if only_pages else size // _DENSE)
    whole = pages[:-1][goes_whole]
    for page in whole.tolist():
        kept[page * size : (page + 1) * size] = now[page * size : (page + 1) * size]
    if len(whole):
        numbers = numbers[~np.repeat(goes_whole, each)]
    values = now[numbers]
    kept[numbers] = values
    return whole, numbers, values


def _as_words(array: Array) -> NDArray[np.uint64]:
    """The bytes of an array as words, zeros behind their end; a copy only where it must be one."""
    octets = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if len(octets) % 8 or octets.ctypes.data % 8:
        padded = np.zeros(-(-len(octets) // 8) * 8, np.uint8)
        padded[: len(octets)] = octets
        octets = padded
    return octets.view(np.uint64)
