"""The state of a user as bytes.

Layout, little endian (see `packing` for the envelope): header; counts by event type; event times as distance to the newest, as few
bytes each as the oldest needs; event types, two per byte; item ids; affinities (float32) and their category names; the ids of
recent events, 6 bytes of hash each, grouped by the hour in which the log took them in. `benchmarks/store_bytes.py` measures them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.packing import CorruptBlob, NarrowRows, sealed, unpack_ids, unpack_unsigned, unsealed
from schemas.events import TYPE_NAMES

VERSION: Final = 1
TYPES: Final = len(TYPE_NAMES)
# version, bytes per time (high four bits) and per count, affinities (and whether a forgotten time follows), history length,
# groups of event ids, effect ms, newest ms
_HEADER: Final = struct.Struct("<BBBHBIq")
_FORGOTTEN: Final = struct.Struct("<q")
_HAS_FORGOTTEN: Final = 0x80
_GROUP: Final = struct.Struct("<II")  # hour since the epoch, ids in the group
EVENT_ID_BYTES: Final = 6
_MAX_EFFECT_MS: Final = 2**32 - 1


class HistoryEntry(NamedTuple):
    """One event of a user's history."""

    item_id: str
    type: int
    timestamp: int


@dataclass
class UserState:
    """What the store knows of a user.

    Attributes:
        counts: events of each type over all time, by type code.
        history: newest events first, by (timestamp, type, item).
        newest: event time of the newest event, ms; also the moment to which the affinities are decayed. 0: no event yet.
        effect_ms: time from the log taking in the last applied event to its effect in the store. Not part of the state proper:
            it differs between two runs over the same log.
        forgotten: log time up to which events are ignored because the user was forgotten, ms.
        affinities: category to decayed weight.
        seen: hour in which the log took the events in, to the concatenated hashes of their event ids.
    """

    counts: list[int] = field(default_factory=lambda: [0] * TYPES)
    history: list[HistoryEntry] = field(default_factory=list)
    newest: int = 0
    effect_ms: int = 0
    forgotten: int = 0
    affinities: dict[str, float] = field(default_factory=dict)
    seen: dict[int, bytes] = field(default_factory=dict)


class UserColumns(NamedTuple):
    """The states of D users as arrays, the form in which the worker keeps and packs them.

    Attributes:
        counts: uint32[D, types].
        newest, forgotten, effect_ms: int64[D].
        length: int32[D], events in the history.
        items: int32[D, N], index into `item_bytes`, newest first.
        types: uint8[D, N].
        timestamps: int64[D, N].
        categories: int32[D, A], index into `category_bytes`; -1 behind the last.
        weights: float32[D, A].
        seen: per user, hour to hashes.
    """

    counts: NDArray[np.uint32]
    newest: NDArray[np.int64]
    forgotten: NDArray[np.int64]
    effect_ms: NDArray[np.int64]
    length: NDArray[np.int32]
    items: NDArray[np.int32]
    types: NDArray[np.uint8]
    timestamps: NDArray[np.int64]
    categories: NDArray[np.int32]
    weights: NDArray[np.float32]
    seen: Sequence[Mapping[int, bytes | bytearray]]


def pack_users(users: UserColumns, item_bytes: NDArray[np.object_], category_bytes: NDArray[np.object_]) -> list[bytes]:
    """One blob per user. `item_bytes[i]` and `category_bytes[c]` are `pack_id` of item i and category c, and b"" at -1."""
    behind = np.arange(users.items.shape[1]) >= users.length[:, None]
    ages = NarrowRows(np.where(behind, 0, users.newest[:, None] - users.timestamps))
    counts = NarrowRows(users.counts.astype(np.int64))
    types = _nibbles(np.where(behind, np.uint8(0), users.types))
    weights, weight_row = users.weights.astype("<f4").tobytes(), 4 * users.weights.shape[1]
    rows = zip(
        range(len(users.length)), ages.widths, counts.widths, users.length.tolist(), (users.categories >= 0).sum(axis=1).tolist(),
        np.clip(users.effect_ms, 0, _MAX_EFFECT_MS).tolist(), users.newest.tolist(), users.forgotten.tolist(),
        item_bytes[np.where(behind, -1, users.items)].tolist(), category_bytes[users.categories].tolist(), users.seen, strict=True,
    )  # fmt: skip
    return [
        sealed(
            b"".join(
                (
                    _head(age_width << 4 | count_width, leanings, length, len(seen), effect, newest, forgotten),
                    counts.row(d, TYPES),
                    ages.row(d, length),
                    types[d][: (length + 1) // 2],
                    *items,
                    weights[weight_row * d : weight_row * d + 4 * leanings],
                    *categories,
                    *[_GROUP.pack(hour, len(ids) // EVENT_ID_BYTES) + ids for hour, ids in seen.items()],
                )
            )
        )
        for d, age_width, count_width, length, leanings, effect, newest, forgotten, items, categories, seen in rows
    ]


def _head(widths: int, leanings: int, length: int, groups: int, effect: int, newest: int, forgotten: int) -> bytes:
    """Hardly anyone is ever forgotten: only then it takes eight bytes."""
    if forgotten:
        return _HEADER.pack(VERSION, widths, leanings | _HAS_FORGOTTEN, length, groups, effect, newest) + _FORGOTTEN.pack(forgotten)
    return _HEADER.pack(VERSION, widths, leanings, length, groups, effect, newest)


def _nibbles(types: NDArray[np.uint8]) -> list[bytes]:
    """Two types per byte, a row each."""
    packed = types[:, ::2].copy()
    packed[:, : types.shape[1] // 2] |= types[:, 1::2] << 4
    width, flat = packed.shape[1], packed.tobytes()
    return [flat[start : start + width] for start in range(0, len(flat), width)] if width else [b""] * len(types)


def unpack_user(blob: bytes) -> UserState:
    """Inverse of `pack_users` for one user.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    try:
        return _unpack_body(body)
    except (struct.error, IndexError, ValueError) as error:
        raise CorruptBlob(f"user blob: {error}") from error


def _unpack_body(body: bytes) -> UserState:
    _, widths, affinities, length, groups, effect, newest = _HEADER.unpack_from(body)
    at, width, counts_in, forgotten = _HEADER.size, widths >> 4, widths & 15, 0
    if affinities & _HAS_FORGOTTEN:
        affinities ^= _HAS_FORGOTTEN
        forgotten = _FORGOTTEN.unpack_from(body, at)[0]
        at += _FORGOTTEN.size
    counts = unpack_unsigned(body, at, TYPES, counts_in).tolist()
    at += TYPES * counts_in
    times = (newest - unpack_unsigned(body, at, length, width)).tolist()
    at += length * width
    nibbles = body[at : at + (length + 1) // 2]
    types = [nibbles[i >> 1] >> 4 if i & 1 else nibbles[i >> 1] & 15 for i in range(length)]
    items, at = unpack_ids(body, at + len(nibbles), length)
    weights = np.frombuffer(body, "<f4", affinities, at).tolist()
    categories, at = unpack_ids(body, at + 4 * affinities, affinities)
    seen = {}
    for _ in range(groups):
        hour, count = _GROUP.unpack_from(body, at)
        at += _GROUP.size + count * EVENT_ID_BYTES
        seen[hour] = body[at - count * EVENT_ID_BYTES : at]
    if at > len(body):
        raise CorruptBlob(f"event ids end too early at byte {at}")
    return UserState(
        counts=counts,
        history=list(map(HistoryEntry, items, types, times)),
        newest=newest,
        effect_ms=effect,
        forgotten=forgotten,
        affinities=dict(zip(categories, weights, strict=True)),
        seen=seen,
    )
