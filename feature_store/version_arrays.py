"""Arrays of a safetensors file, read where they lie; and ids as two arrays, so that a million load in a moment. Pure."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.version_manifest import CorruptVersion, Manifest
from schemas.errors import InvalidInput

_HEAD_BYTES: Final = 8
_NOT_LAST: Final = 0xC0  # the two highest bits of an octet; 10: it goes on with the character of the octet before
_GOES_ON: Final = 0x80
_DTYPES: Final = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
STORABLE: Final = frozenset(np.dtype(kind) for kind in _DTYPES.values())

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]


class JoinedIds(NamedTuple):
    """N ids: their UTF-8 without anything between, and uint8[...], int64[N + 1], where each begins and the last one ends."""

    octets: U8
    bounds: I64


class StoredVersion(NamedTuple):
    """One version in memory.

    Attributes:
        arrays: read-only views of the file; they stay valid when the version is removed from disk.
        item_ids, user_ids: which item, which user row p is.
    """

    model: str
    version: str
    manifest: Manifest
    arrays: Mapping[str, NDArray[Any]]
    item_ids: tuple[str, ...]
    user_ids: tuple[str, ...]


def view_arrays(content: bytes | mmap.mmap, place: object) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, by name: read-only views of `content`, nothing is copied.

    The library's own reader copies every array; views of one memory map are shared by all processes that serve the same version.
    The format: the header's length as u64, little endian; the header, JSON: name to dtype, shape and [begin, end) behind it.

    Raises:
        CorruptVersion: no such file.
    """
    try:
        start = _HEAD_BYTES + int.from_bytes(content[:_HEAD_BYTES], "little")
        if start > len(content):
            raise ValueError(f"a header of {start - _HEAD_BYTES} bytes in a file of {len(content)}")
        header = json.loads(content[_HEAD_BYTES:start])
        header.pop("__metadata__", None)
        return {name: _view(content, start, **entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CorruptVersion(f"{place}: no safetensors file: {error}") from error


def _view(content: bytes | mmap.mmap, start: int, dtype: str, shape: Sequence[int], data_offsets: Sequence[int]) -> NDArray[Any]:
    kind, count, (begin, end) = np.dtype(_DTYPES[dtype]), prod(shape), data_offsets
    if not 0 <= begin <= end <= len(content) - start or end - begin != count * kind.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{dtype}{list(shape)} at bytes {begin} to {end} of {len(content) - start}")
    array: NDArray[Any] = np.frombuffer(content, kind, count, start + begin).reshape(shape) if count else np.empty(shape, kind)
    array.flags.writeable = False
    return array


def join_ids(ids: Sequence[str]) -> JoinedIds:
    """The ids as two arrays.

    Raises:
        InvalidInput: an id twice, or half a surrogate pair.

    >>> join_ids(["7", "é"]).bounds
    array([0, 1, 3])
    """
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
        raise InvalidInput(f"id {twice!r} stands in two rows; every row must be another item or user")
    try:
        encoded = [one.encode() for one in ids]
    except UnicodeEncodeError as error:
        raise InvalidInput(f"id {error.object!r} cannot be written as UTF-8") from error
    bounds = np.zeros(len(ids) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=bounds[1:])
    return JoinedIds(np.frombuffer(b"".join(encoded), np.uint8), bounds)


def split_ids(joined: JoinedIds, place: object) -> tuple[str, ...]:
    """Inverse of `join_ids`.

    Raises:
        CorruptVersion: the bounds do not fit the octets.

    >>> split_ids(join_ids(["7", "é"]), "here")
    ('7', 'é')
    """
    octets, bounds = joined
    if octets.dtype != np.uint8 or bounds.dtype != np.int64 or not _fit(octets, bounds):
        raise CorruptVersion(f"{place}: bounds of ids that do not fit their {octets.size} octets")
    try:
        text = octets.tobytes().decode()
    except UnicodeDecodeError as error:
        raise CorruptVersion(f"{place}: ids that are no UTF-8: {error}") from error
    places = bounds if len(text) == len(octets) else _characters(octets)[bounds]
    return tuple(text[start:end] for start, end in pairwise(places.tolist()))


def _fit(octets: U8, bounds: I64) -> bool:
    ends_well = bounds.ndim == octets.ndim == 1 and len(bounds) > 0 and bounds[0] == 0 and bounds[-1] == len(octets)
    return bool(ends_well and np.all(bounds[1:] >= bounds[:-1]))


def _characters(octets: U8) -> I64:
    """How many characters begin before each octet, and before the end: int64[octets + 1]."""
    begun = np.zeros(len(octets) + 1, np.int64)
    np.cumsum((octets & _NOT_LAST) != _GOES_ON, out=begun[1:])
    return begun


def id_arrays(item_ids: Sequence[str], user_ids: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of `ids.safetensors`."""
    named = (("items", join_ids(item_ids)), ("users", join_ids(user_ids)))
    return {f"{name}.{part}": array for name, joined in named for part, array in joined._asdict().items()}


def ids_of(arrays: Mapping[str, NDArray[Any]], name: str, place: object) -> tuple[str, ...]:
    """The ids of `items` or `users` out of the arrays of `ids.safetensors`."""
    try:
        joined = JoinedIds(arrays[f"{name}.octets"], arrays[f"{name}.bounds"])
    except KeyError as error:
        raise CorruptVersion(f"{place}: no array {error}") from error
    return split_ids(joined, place)
