"""How the arrays of the online models stand in the store: pages of rows, deltas, and an index. Numbers little endian.

A page holds the bytes of a fixed number of rows of one array, about 32 KB, without the zeros at its end. A commit that changed only
a few words of a page leaves the page as it is and puts the words into its delta (`feature_store/model_deltas.py`), so a page may be
older than what it should hold: its content is the stored page, and over it the words of every delta behind the page's commit.

The index says of each array its dtype and shape, of each page which commits wrote and changed it, and which deltas there are. All
blobs are sealed with a checksum. A page says where it belongs and which commit wrote it, so that a reader sees when it does not
belong to the index it has:

    page  = version u8 | epoch u64 | commit u32 | page u32 | length u16, array and dtype and row shape as text | bytes
    index = version u8 | msgpack
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from feature_store.keys import model_page_key
from feature_store.packing import CorruptBlob, sealed, unsealed

VERSION: Final = 2
PAGE_BYTES: Final = 32 * 1024
_LEAST_ROWS: Final = 8  # so that a page is a whole number of 8-byte words whatever the row
_LARGEST: Final = 1 << 35  # bytes: a word's number fits 32 bits
_HEAD: Final = struct.Struct("<BQIIH")


class Layout(NamedTuple):
    """How one array is stored.

    Attributes:
        dtype: NumPy's name of it, little endian. row_shape: shape without the first axis. rows: length of the first axis.
    """

    dtype: str
    row_shape: tuple[int, ...]
    rows: int

    @classmethod
    def of(cls, array: NDArray[Any]) -> Layout:
        """The layout of an array.

        Raises:
            ValueError: an array without rows, of Python objects, or of 32 GiB.
        """
        if array.ndim == 0 or array.dtype.hasobject or array.dtype.byteorder == ">" or array.nbytes >= _LARGEST:
            raise ValueError(f"{array.dtype} with {array.ndim} axes cannot be stored")
        return cls(array.dtype.str, array.shape[1:], array.shape[0])

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return np.dtype(self.dtype).itemsize * prod(self.row_shape)

    @property
    def page_rows(self) -> int:
        """Rows of a page: a power of two, so that an array that doubles keeps its pages."""
        return 1 << max(_LEAST_ROWS, PAGE_BYTES // max(1, self.row_bytes)).bit_length() - 1

    @property
    def page_bytes(self) -> int:
        """Bytes of a full page."""
        return self.page_rows * self.row_bytes

    @property
    def page_words(self) -> int:
        """Words of 8 bytes of a full page."""
        return self.page_bytes // 8

    @property
    def pages(self) -> int:
        """Number of pages."""
        return -(-self.rows // self.page_rows) if self.row_bytes else 0

    def describe(self, name: str) -> bytes:
        """What every page of the array says about itself: all but the number of rows, which grows."""
        return f"{name}|{self.dtype}|{','.join(map(str, self.row_shape))}".encode()


class PageCommits(NamedTuple):
    """Which commits wrote the pages of an array; each uint32[pages], 0: none.

    Attributes:
        born: the commit that began the array; before it, it was all zeros, and no earlier delta is about it.
        changed: the last that changed the page. stored: whose content the stored page has.
        whole: the last whose change of the page is in no delta, only in the stored page.
    """

    born: int
    changed: NDArray[np.uint32]
    stored: NDArray[np.uint32]
    whole: NDArray[np.uint32]


@dataclass(frozen=True)
class Index:
    """What is stored, and what the models have learnt.

    Attributes:
        epoch: when the models were begun anew, ms. commit: number of this commit.
        origin: what settings and what code the arrays belong to; others cannot take them over.
        events: events learnt. at: when it was committed, ms.
        layouts, pages: of each array.
        deltas: bytes of each stored delta by its commit; commits that needed none are left out.
        oldest: of this commit and all later ones, no delta has been removed.
    """

    epoch: int
    commit: int
    origin: str
    events: int
    at: int
    layouts: Mapping[str, Layout]
    pages: Mapping[str, PageCommits]
    deltas: Mapping[int, int]
    oldest: int

    def goes_on_from(self, earlier: Index) -> bool:
        """Whether deltas lead from there to here. Not so in another epoch, nor after the store has lost its last commits."""
        same = (self.commit, self.events, self.at) == (earlier.commit, earlier.events, earlier.at)
        return self.epoch == earlier.epoch and (self.commit > earlier.commit or same)


class PageId(NamedTuple):
    """One page."""

    array: str
    page: int

    @property
    def key(self) -> bytes:
        """Its key in the store."""
        return model_page_key(self.array, self.page)

    @property
    def size(self) -> int:
        """Bytes to expect of its blob."""
        return PAGE_BYTES


def pack_index(index: Index) -> bytes:
    """The blob under `MODEL_INDEX`."""
    arrays = [
        (name, *layout, pages.born, *(numbers.astype("<u4").tobytes() for numbers in pages[1:]))
        for name, layout, pages in ((name, layout, index.pages[name]) for name, layout in index.layouts.items())
    ]
    head = {"epoch": index.epoch, "commit": index.commit, "origin": index.origin, "events": index.events, "at": index.at}
    deltas = {"deltas": list(index.deltas.items()), "oldest": index.oldest}
    packed: bytes = msgpack.packb(head | deltas | {"arrays": arrays})
    return sealed(bytes((VERSION,)) + packed)


def unpack_index(blob: bytes) -> Index:
    """Inverse of `pack_index`.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    try:
        head = msgpack.unpackb(body[1:])
        arrays, deltas = head.pop("arrays"), dict(head.pop("deltas"))
        layouts = {name: Layout(dtype, tuple(shape), rows) for name, dtype, shape, rows, *_ in arrays}
        pages = {name: PageCommits(born, *(np.frombuffer(p, "<u4") for p in packed)) for name, _, _, _, born, *packed in arrays}
        if any({*map(len, commits[1:])} != {layouts[name].pages} for name, commits in pages.items()):
            raise ValueError("a page without a commit")
        return Index(**head, layouts=layouts, pages=pages, deltas=deltas)
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise CorruptBlob(f"model index: {error}") from error


def pack_page(index: Index, place: PageId, content: bytes) -> bytes:
    """The blob of a page with this content, as of the commit that the index says it is stored of."""
    about = index.layouts[place.array].describe(place.array)
    commit = int(index.pages[place.array].stored[place.page])
    return sealed(_HEAD.pack(VERSION, index.epoch, commit, place.page, len(about)) + about + content.rstrip(b"\0"))


class Page(NamedTuple):
    """A page as it was written: by which commit of which epoch, and its bytes without the zeros at the end."""

    epoch: int
    commit: int
    content: bytes


def unpack_page(blob: bytes, layout: Layout, place: PageId) -> Page:
    """Inverse of `pack_page`, for a page of this array and place.

    Raises:
        CorruptBlob: damaged, or another page.
    """
    body = unsealed(blob, VERSION)
    try:
        _, epoch, commit, page, length = _HEAD.unpack_from(body)
    except struct.error as error:
        raise CorruptBlob(f"model page {place.key!r}: {error}") from error
    about, content = body[_HEAD.size : _HEAD.size + length], body[_HEAD.size + length :]
    if page != place.page or about != layout.describe(place.array) or len(content) > layout.page_bytes:
        raise CorruptBlob(f"model page {place.key!r} is page {page} of {about[:80]!r}")
    return Page(epoch, commit, content)


def stored_pages(index: Index, names: Iterable[str]) -> list[PageId]:
    """Every page of these arrays that the index says is stored."""
    known = [name for name in names if name in index.pages]
    return [PageId(name, page) for name in known for page in np.flatnonzero(index.pages[name].stored).tolist()]
