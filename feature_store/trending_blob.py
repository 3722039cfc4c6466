"""The most popular items of one item partition (or of one category in it) as bytes, with all their decayed and window counts."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from feature_store.item_blob import HORIZONS
from feature_store.packing import CorruptBlob, sealed, unpack_ids, unsealed
from schemas.horizons import WINDOWS

VERSION: Final = 1
SPANS: Final = len(WINDOWS)
_HEADER: Final = struct.Struct("<BHq")


@dataclass(frozen=True)
class Trending:
    """Candidates for "popular now": every item that is among the best of its partition for some half-life or window.

    Attributes:
        items: item ids, n of them.
        decayed: float32[n, half-lives], decayed to `at`.
        windows: uint32[n, windows], counts in the windows that end at `at`.
        at: newest event time of the partition, ms.
    """

    items: list[str]
    decayed: NDArray[np.float32]
    windows: NDArray[np.uint32]
    at: int


def pack_trending(id_bytes: Sequence[bytes], decayed: NDArray[np.float64], windows: NDArray[np.int64], at: int) -> bytes:
    """The blob; `id_bytes` is `pack_id` of each item, the other arguments as in `Trending`."""
    body = (_HEADER.pack(VERSION, len(id_bytes), at), decayed.astype("<f4").tobytes(), windows.astype("<u4").tobytes())
    return sealed(b"".join((*body, *id_bytes)))


def unpack_trending(blob: bytes) -> Trending:
    """Inverse of `pack_trending`.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    try:
        _, count, at = _HEADER.unpack_from(body)
        decayed = np.frombuffer(body, "<f4", count * HORIZONS, _HEADER.size).reshape(count, HORIZONS)
        start = _HEADER.size + decayed.nbytes
        windows = np.frombuffer(body, "<u4", count * SPANS, start).reshape(count, SPANS)
        items, _ = unpack_ids(body, start + windows.nbytes, count)
    except (struct.error, ValueError) as error:
        raise CorruptBlob(f"trending blob: {error}") from error
    return Trending(items, decayed, windows, at)
