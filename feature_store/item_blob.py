"""The state of an item as bytes.

Layout, little endian (see `packing` for the envelope): header; counts by event type; decayed counts (float64); window buckets, as
few bytes each as the largest needs; co-visitation weights (float32) and the ids of the co-visited items.
`benchmarks/store_bytes.py` measures them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.packing import CorruptBlob, NarrowRows, pack_id, sealed, unpack_ids, unpack_unsigned, unsealed
from feature_store.user_blob import TYPES
from schemas.horizons import HALF_LIVES, TOTAL_BUCKETS, WINDOWS

VERSION: Final = 1
HORIZONS: Final = len(HALF_LIVES)
# version, bytes per count, bytes per bucket, neighbours, newest ms, ms to which the co-visitation weights are decayed
_HEADER: Final = struct.Struct("<BBBHqq")


@dataclass
class ItemState:
    """What the store knows of an item's behaviour.

    Attributes:
        counts: events of each type over all time, by type code.
        newest: event time of the newest positive event, ms; the moment to which `decayed` is decayed and at which the windows end.
        decayed: decayed counts, one per half-life of `schemas.horizons`.
        buckets: exact counts of the window buckets, ring by ring; bucket b of a ring of n stands at b mod n.
        neighbours: co-visited item to weight at `neighbours_at`.
        neighbours_at: moment to which the weights are decayed, ms.
    """

    counts: list[int] = field(default_factory=lambda: [0] * TYPES)
    newest: int = 0
    decayed: list[float] = field(default_factory=lambda: [0.0] * HORIZONS)
    buckets: list[int] = field(default_factory=lambda: [0] * TOTAL_BUCKETS)
    neighbours: dict[str, float] = field(default_factory=dict)
    neighbours_at: int = 0


class ItemColumns(NamedTuple):
    """The states of D items as arrays, the form in which the worker keeps and packs them.

    Attributes:
        counts: uint32[D, types].
        newest, neighbours_at: int64[D].
        decayed: float64[D, half-lives].
        buckets: uint32[D, buckets].
        neighbours: int32[D, K], index into `id_bytes`; -1 behind the last.
        weights: float32[D, K].
    """

    counts: NDArray[np.uint32]
    newest: NDArray[np.int64]
    decayed: NDArray[np.float64]
    buckets: NDArray[np.uint32]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32]
    neighbours_at: NDArray[np.int64]


def pack_items(items: ItemColumns, id_bytes: NDArray[np.object_]) -> list[bytes]:
    """One blob per item. `id_bytes[i]` is `pack_id` of neighbour i, and b"" at -1."""
    counts, buckets = NarrowRows(items.counts.astype(np.int64)), NarrowRows(items.buckets.astype(np.int64))
    decayed, decayed_row = items.decayed.astype("<f8").tobytes(), 8 * HORIZONS
    weights, weight_row = items.weights.astype("<f4").tobytes(), 4 * items.weights.shape[1]
    rows = zip(
        range(len(items.newest)), counts.widths, buckets.widths, (items.neighbours >= 0).sum(axis=1).tolist(),
        items.newest.tolist(), items.neighbours_at.tolist(), id_bytes[items.neighbours].tolist(), strict=True,
    )  # fmt: skip
    return [
        sealed(
            b"".join(
                (
                    _HEADER.pack(VERSION, count_width, bucket_width, length, newest, neighbours_at),
                    counts.row(d, TYPES),
                    decayed[decayed_row * d : decayed_row * (d + 1)],
                    buckets.row(d, TOTAL_BUCKETS),
                    weights[weight_row * d : weight_row * d + 4 * length],
                    *neighbours,
                )
            )
        )
        for d, count_width, bucket_width, length, newest, neighbours_at, neighbours in rows
    ]


def unpack_item(blob: bytes) -> ItemState:
    """Inverse of `pack_items` for one item.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    try:
        return _unpack_body(body)
    except (struct.error, IndexError, ValueError) as error:
        raise CorruptBlob(f"item blob: {error}") from error


def _unpack_body(body: bytes) -> ItemState:
    _, counts_in, buckets_in, length, newest, neighbours_at = _HEADER.unpack_from(body)
    at = _HEADER.size
    counts = unpack_unsigned(body, at, TYPES, counts_in).tolist()
    at += TYPES * counts_in
    decayed = np.frombuffer(body, "<f8", HORIZONS, at).tolist()
    at += 8 * HORIZONS
    buckets = unpack_unsigned(body, at, TOTAL_BUCKETS, buckets_in).tolist()
    at += TOTAL_BUCKETS * buckets_in
    weights = np.frombuffer(body, "<f4", length, at).tolist()
    neighbours, _ = unpack_ids(body, at + 4 * length, length)
    return ItemState(counts, newest, decayed, buckets, dict(zip(neighbours, weights, strict=True)), neighbours_at)


def decay_factors(elapsed_ms: float) -> NDArray[np.float64]:
    """2^(-elapsed / half-life) for every half-life.

    >>> decay_factors(3_600_000).round(3).tolist()[:2]
    [0.5, 0.891]
    """
    return np.exp2(-elapsed_ms / np.fromiter(HALF_LIVES.values(), np.float64))


def window_counts(buckets: Sequence[int], newest: int, now: int) -> list[int]:
    """Exact event counts in each window of `schemas.horizons` that ends in the bucket of `now`.

    Args:
        buckets: `ItemState.buckets`.
        newest: `ItemState.newest`.
        now: ms; events up to `newest` are known, so a `now` before it is taken as `newest`.
    """
    sums, start = [], 0
    for count, width in WINDOWS.values():
        head = newest // width
        skipped = max(0, now // width - head)
        ring = buckets[start : start + count]
        sums.append(sum(ring[(head - age) % count] for age in range(max(0, count - skipped))))
        start += count
    return sums


_DECAYED: Final = struct.Struct("<d")


class Neighbours(NamedTuple):
    """The part of an item's blob that co-visitation needs.

    Attributes:
        ids: co-visited items.
        weights: float32[len(ids)] at `weights_at`.
        weights_at: moment to which the weights are decayed, ms.
        audience: decayed count with the longest half-life, at `newest` (ms).
    """

    ids: list[str]
    weights: NDArray[np.float32]
    weights_at: int
    audience: float
    newest: int


def unpack_neighbours(blob: bytes) -> Neighbours:
    """Only the co-visited items and the popularity of an item: a request needs those of twenty items.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    try:
        _, counts_in, buckets_in, length, newest, neighbours_at = _HEADER.unpack_from(body)
        decayed_at = _HEADER.size + TYPES * counts_in
        audience = _DECAYED.unpack_from(body, decayed_at + 8 * (HORIZONS - 1))[0]
        at = decayed_at + 8 * HORIZONS + TOTAL_BUCKETS * buckets_in
        weights = np.frombuffer(body, "<f4", length, at)
        ids = _unpack_short_numbers(body, at + 4 * length, length) or unpack_ids(body, at + 4 * length, length)[0]
    except (struct.error, IndexError, ValueError) as error:
        raise CorruptBlob(f"item blob: {error}") from error
    return Neighbours(ids, weights, neighbours_at, audience, newest)


_SHORT_NUMBER: Final = pack_id("0")[:1]  # the tag of ids that are decimal numbers below 2^24


def _unpack_short_numbers(body: bytes, at: int, count: int) -> list[str] | None:
    """`unpack_ids` where every id is a short number, all at once; None where one is not."""
    packed = body[at : at + 4 * count]
    if not count or len(body) != at + 4 * count or packed[::4] != _SHORT_NUMBER * count:
        return None
    return list(map(str, (np.frombuffer(packed, "<u4", count) >> 8).tolist()))
