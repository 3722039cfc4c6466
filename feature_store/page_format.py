"""How the arrays of the online models stand in the store: pages of rows, and an index of them. Numbers little endian.

A page holds the bytes of a fixed number of rows of one array, about 32 KB, without the zeros at its end. The index says for each
array its dtype and shape, and for each page the commit that wrote it last; 0: never, all zeros. Both are sealed with a checksum.
Each page says where it belongs and which commit wrote it, so that a reader sees when it does not belong to the index it has:

    page  = version u8 | epoch u64 | commit u32 | page u32 | length u16, array and dtype and row shape as text | bytes
    index = version u8 | msgpack
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from feature_store.keys import model_page_key
from feature_store.packing import CorruptBlob, sealed, unsealed

VERSION: Final = 1
PAGE_BYTES: Final = 32 * 1024
_LEAST_ROWS: Final = 8  # so that a page is a whole number of 8-byte words whatever the row
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
            ValueError: an array without rows, or of Python objects.
        """
        if array.ndim == 0 or array.dtype.hasobject or array.dtype.byteorder == ">":
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
    def pages(self) -> int:
        """Number of pages."""
        return -(-self.rows // self.page_rows) if self.row_bytes else 0

    def describe(self, name: str) -> bytes:
        """What every page of the array says about itself: all but the number of rows, which grows."""
        return f"{name}|{self.dtype}|{','.join(map(str, self.row_shape))}".encode()


@dataclass(frozen=True)
class Index:
    """What is stored, and what the models have learnt.

    Attributes:
        epoch: when the models were begun anew, ms. commit: number of this commit.
        origin: what settings and what code the arrays belong to; others cannot take them over.
        events: events learnt. at: when it was committed, ms.
        layouts: of each array. versions: uint32[pages] of each array, the commit that wrote the page last.
    """

    epoch: int
    commit: int
    origin: str
    events: int
    at: int
    layouts: Mapping[str, Layout]
    versions: Mapping[str, NDArray[np.uint32]]


class PageId(NamedTuple):
    """One page."""

    array: str
    page: int

    @property
    def key(self) -> bytes:
        """Its key in the store."""
        return model_page_key(self.array, self.page)


def pack_index(index: Index) -> bytes:
    """The blob under `MODEL_INDEX`."""
    arrays = [
        (name, layout.dtype, layout.row_shape, layout.rows, index.versions[name].astype("<u4").tobytes())
        for name, layout in index.layouts.items()
    ]
    head = {"epoch": index.epoch, "commit": index.commit, "origin": index.origin, "events": index.events, "at": index.at}
    packed: bytes = msgpack.packb(head | {"arrays": arrays})
    return sealed(bytes((VERSION,)) + packed)


def unpack_index(blob: bytes) -> Index:
    """Inverse of `pack_index`.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    try:
        head = msgpack.unpackb(body[1:])
        arrays = head.pop("arrays")
        layouts = {name: Layout(dtype, tuple(shape), rows) for name, dtype, shape, rows, _ in arrays}
        versions = {name: np.frombuffer(packed, "<u4") for name, *_, packed in arrays}
        if any(len(versions[name]) != layout.pages for name, layout in layouts.items()):
            raise ValueError("a page without a version")
        return Index(**head, layouts=layouts, versions=versions)
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise CorruptBlob(f"model index: {error}") from error


def pack_page(index: Index, place: PageId, content: bytes) -> bytes:
    """The blob of a page with this content, as of the commit that the index says."""
    about = index.layouts[place.array].describe(place.array)
    commit = int(index.versions[place.array][place.page])
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


def stored_pages(index: Index) -> list[PageId]:
    """Every page that the index says is stored."""
    return [PageId(name, page) for name, versions in index.versions.items() for page in np.flatnonzero(versions).tolist()]
