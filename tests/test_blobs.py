"""Packed blobs: what goes in comes out, damage is noticed, and they stay small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.item_blob import HORIZONS, ItemColumns, ItemState, pack_items, unpack_item, unpack_neighbours
from feature_store.packing import CorruptBlob, pack_id, sealed, unpack_ids
from feature_store.trending_blob import SPANS, Trending, pack_trending, unpack_trending
from feature_store.user_blob import EVENT_ID_BYTES, TYPES, HistoryEntry, UserColumns, UserState, pack_users, unpack_user
from schemas.horizons import DAY_MS, HOUR_MS, TOTAL_BUCKETS
from schemas.timestamps import EARLIEST_MS

ROUND_TRIP = settings(deadline=None, max_examples=60)
IN_2100 = 4_102_444_800_000
DAY = 1_767_225_600_000

IDS = st.one_of(
    st.integers(0, 10**30).map(str),
    st.integers(0, 10**8).map(str),
    st.integers(0, 10**6).map(lambda n: f"00{n}"),
    st.sampled_from(
        ["0", "00", "-1", "+1", "1.0", "٣", "²", str(2**24 - 1), str(2**24), str(2**32), str(2**64 - 1), str(2**64), "9" * 256]
    ),
    st.uuids().map(str),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40),
    st.sampled_from(["x" * 251, "x" * 252, "x" * 256, "ü" * 128, "😀" * 64]),
)
TIMES = st.integers(EARLIEST_MS, IN_2100) | st.sampled_from([EARLIEST_MS, IN_2100])
COUNTS = st.lists(st.integers(0, 300) | st.integers(0, 2**32 - 1), min_size=TYPES, max_size=TYPES)
WEIGHTS = st.floats(0, 2.0**100, width=32)


@st.composite
def user_states(draw: Any) -> UserState:
    history = draw(st.lists(st.builds(HistoryEntry, IDS, st.integers(0, 15), TIMES), max_size=8))
    history *= draw(st.sampled_from([1, 1, 1, 125]))
    return UserState(
        counts=draw(COUNTS),
        history=history,
        newest=max((entry.timestamp for entry in history), default=0),
        effect_ms=draw(st.integers(0, 2**32 - 1)),
        forgotten=draw(st.just(0) | TIMES),
        affinities=draw(st.dictionaries(IDS, WEIGHTS, max_size=6)),
        seen=draw(st.dictionaries(st.integers(0, 2**32 - 1), st.binary(min_size=6, max_size=6).map(lambda h: h * 3), max_size=4)),
    )


@st.composite
def item_states(draw: Any) -> ItemState:
    buckets = st.integers(0, 5) | st.integers(0, 2**32 - 1)
    return ItemState(
        counts=draw(COUNTS),
        newest=draw(st.just(0) | TIMES),
        decayed=draw(st.lists(st.floats(0, 1e300), min_size=HORIZONS, max_size=HORIZONS)),
        buckets=draw(st.lists(buckets, min_size=TOTAL_BUCKETS, max_size=TOTAL_BUCKETS)),
        neighbours=draw(st.dictionaries(IDS, WEIGHTS, max_size=12)),
        neighbours_at=draw(st.just(0) | TIMES),
    )


def packed_ids(ids: list[str]) -> np.ndarray:
    """`pack_id` of each and b"" at -1, as the interner keeps them."""
    table = np.full(len(ids) + 1, b"", object)
    table[:-1] = [pack_id(i) for i in ids]
    return table


def padded(rows: list[list[Any]], empty: Any, dtype: type) -> np.ndarray:
    table = np.full((len(rows), max(map(len, rows), default=0)), empty, dtype)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


def packed_users(users: list[UserState]) -> list[bytes]:
    items = list(dict.fromkeys(entry.item_id for user in users for entry in user.history))
    categories = list(dict.fromkeys(name for user in users for name in user.affinities))
    columns = UserColumns(
        counts=np.array([user.counts for user in users], np.uint32),
        newest=np.array([user.newest for user in users]),
        forgotten=np.array([user.forgotten for user in users]),
        effect_ms=np.array([user.effect_ms for user in users]),
        length=np.array([len(user.history) for user in users], np.int32),
        items=padded([[items.index(entry.item_id) for entry in user.history] for user in users], 0, np.int32),
        types=padded([[entry.type for entry in user.history] for user in users], 9, np.uint8),
        timestamps=padded([[entry.timestamp for entry in user.history] for user in users], 0, np.int64),
        categories=padded([[categories.index(name) for name in user.affinities] for user in users], -1, np.int32),
        weights=padded([list(user.affinities.values()) for user in users], 0.0, np.float32),
        seen=[user.seen for user in users],
    )
    return pack_users(columns, packed_ids(items), packed_ids(categories))


def packed_items(items: list[ItemState]) -> list[bytes]:
    ids = list(dict.fromkeys(name for item in items for name in item.neighbours))
    columns = ItemColumns(
        counts=np.array([item.counts for item in items], np.uint32),
        newest=np.array([item.newest for item in items]),
        decayed=np.array([item.decayed for item in items]),
        buckets=np.array([item.buckets for item in items], np.uint32),
        neighbours=padded([[ids.index(name) for name in item.neighbours] for item in items], -1, np.int32),
        weights=padded([list(item.neighbours.values()) for item in items], 0.0, np.float32),
        neighbours_at=np.array([item.neighbours_at for item in items]),
    )
    return pack_items(columns, packed_ids(ids))


def trending_blob(count: int, at: int = DAY) -> bytes:
    rng = np.random.default_rng(count)
    return pack_trending(
        [pack_id(f"i{n}") for n in range(count)], rng.random((count, HORIZONS)), rng.integers(0, 9, (count, SPANS)), at
    )


# --- ids ------------------------------------------------------------------------------------------------------------------


@ROUND_TRIP
@given(st.lists(IDS, max_size=20))
def test_ids_of_every_form_come_back(ids: list[str]) -> None:
    blob = b"".join(map(pack_id, ids))
    assert unpack_ids(b"??" + blob + b"?", 2, len(ids)) == (ids, len(blob) + 2)


@pytest.mark.parametrize(("identifier", "size"), [("0", 4), ("2171847", 4), ("4294967295", 5), ("9" * 19, 9), ("a", 2)])
def test_numbers_are_stored_as_numbers(identifier: str, size: int) -> None:
    assert len(pack_id(identifier)) == size


# --- round trips ----------------------------------------------------------------------------------------------------------


@ROUND_TRIP
@given(st.lists(user_states(), min_size=1, max_size=3))
def test_users_come_back_as_they_were(users: list[UserState]) -> None:
    assert [unpack_user(blob) for blob in packed_users(users)] == users


@ROUND_TRIP
@given(st.lists(item_states(), min_size=1, max_size=3))
def test_items_come_back_as_they_were(items: list[ItemState]) -> None:
    blobs = packed_items(items)
    assert [unpack_item(blob) for blob in blobs] == items
    for item, blob in zip(items, blobs, strict=True):
        part = unpack_neighbours(blob)
        assert dict(zip(part.ids, part.weights.tolist(), strict=True)) == item.neighbours
        assert (part.weights_at, part.audience, part.newest) == (item.neighbours_at, item.decayed[-1], item.newest)


@ROUND_TRIP
@given(st.lists(IDS, max_size=300), TIMES, st.integers(0, 2**32 - 1))
def test_trending_lists_come_back_as_they_were(ids: list[str], at: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    decayed = rng.random((len(ids), HORIZONS)).astype(np.float32).astype(np.float64)
    windows = rng.integers(0, 2**32, (len(ids), SPANS))
    found: Trending = unpack_trending(pack_trending([pack_id(i) for i in ids], decayed, windows, at))
    assert (found.items, found.at) == (ids, at)
    assert np.array_equal(found.decayed, decayed)
    assert np.array_equal(found.windows, windows)


def test_a_user_of_a_thousand_events_from_1990_to_2100_comes_back() -> None:
    step = (IN_2100 - EARLIEST_MS) // 999
    history = [HistoryEntry(str(n), n % 8, IN_2100 - n * step) for n in range(1000)]
    user = UserState(history=history, newest=IN_2100)
    assert unpack_user(packed_users([user])[0]) == user


def test_no_users_and_no_items_make_no_blobs() -> None:
    assert pack_users(UserColumns(*[column[:0] for column in _columns_of_one()]), packed_ids([]), packed_ids([])) == []


def _columns_of_one() -> UserColumns:
    return UserColumns(
        np.zeros((1, TYPES), np.uint32),
        *(np.zeros(1, np.int64) for _ in range(3)), np.zeros(1, np.int32),
        np.zeros((1, 0), np.int32), np.zeros((1, 0), np.uint8), np.zeros((1, 0), np.int64),
        np.zeros((1, 0), np.int32), np.zeros((1, 0)), [{}],
    )  # fmt: skip


# --- damage ---------------------------------------------------------------------------------------------------------------


def sample_user(events: int = 3) -> UserState:
    history = [HistoryEntry(str(2_000_000 + n), n % 8, DAY - n * 60_000) for n in range(events)]
    hours = {(DAY // HOUR_MS) - n % 24: bytes(EVENT_ID_BYTES) * len(range(n, events, 24)) for n in range(min(24, events))}
    return UserState([events, 7, 0, 0, 0, 1, 2, 0], history, DAY, 12, 0, {"Drama": 1.5, "Comedy": 0.5, "Thriller": 2.0}, hours)


def sample_item(ids: list[str]) -> ItemState:
    return ItemState([70_000] * TYPES, DAY, [5.0] * HORIZONS, [900] * TOTAL_BUCKETS, dict.fromkeys(ids, 0.5), DAY)


BLOBS = {
    "user": (packed_users([sample_user()])[0], unpack_user),
    "item": (packed_items([sample_item(["7", "b"])])[0], unpack_item),
    "neighbours": (packed_items([sample_item(["7", "8"])])[0], unpack_neighbours),
    "trending": (trending_blob(3), unpack_trending),
}


@pytest.mark.parametrize("kind", BLOBS)
def test_every_single_flipped_bit_is_noticed(kind: str) -> None:
    blob, unpack = BLOBS[kind]
    unpack(blob)
    for at in range(len(blob)):
        for bit in (1, 16, 128, 255):
            with pytest.raises(CorruptBlob):
                unpack(blob[:at] + bytes((blob[at] ^ bit,)) + blob[at + 1 :])


@pytest.mark.parametrize("kind", BLOBS)
def test_every_truncation_is_noticed(kind: str) -> None:
    blob, unpack = BLOBS[kind]
    for size in range(len(blob)):
        with pytest.raises(CorruptBlob):
            unpack(blob[:size])


@pytest.mark.parametrize("kind", BLOBS)
def test_a_body_that_ends_too_early_is_noticed_even_with_a_right_checksum(kind: str) -> None:
    blob, unpack = BLOBS[kind]
    for size in range(len(blob) - 4):
        with pytest.raises(CorruptBlob):
            unpack(sealed(blob[:size]))


@pytest.mark.parametrize("kind", BLOBS)
def test_another_format_version_is_refused_by_name(kind: str) -> None:
    blob, unpack = BLOBS[kind]
    with pytest.raises(CorruptBlob, match="version 99"):
        unpack(sealed(bytes((99,)) + blob[1:-4]))


# --- size -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("span_ms", [0, HOUR_MS, DAY_MS // 50, 1000 * DAY_MS])
def test_a_user_of_50_events_takes_at_most_1000_bytes(span_ms: int) -> None:
    user = sample_user(50)
    user.history = [entry._replace(timestamp=DAY - n * span_ms // 50) for n, entry in enumerate(user.history)]
    if span_ms > DAY_MS:  # read from a file: the log took all of it in at once
        user.seen = {DAY // HOUR_MS: b"".join(user.seen.values())}
    assert len(packed_users([user])[0]) <= 1000


@pytest.mark.parametrize("ids", [[str(1_000_000 + n) for n in range(50)], [f"item-{n:07d}" for n in range(50)]])
def test_an_item_of_50_neighbours_takes_at_most_1500_bytes(ids: list[str]) -> None:
    assert len(packed_items([sample_item(ids)])[0]) <= 1500
