"""What the user stage tells the learner: the codec, and which events and wishes to be forgotten it mentions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.catalogue import Catalogue
from schemas.errors import InvalidEvent
from schemas.events import Event, EventType
from schemas.topics import CLICKS, FEEDBACK, USER_STAGE_TOPICS, USERS, VIEWS
from stream_workers.handlers.interactions import (
    EVENTS_PER_MESSAGE,
    FORGET,
    ROW_COLUMNS,
    InteractionColumns,
    decode_interactions,
    encode_interactions,
    interaction_messages,
    lots,
    rows_of,
)
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.user_batch import Profile, UserBatch
from stream_workers.handlers.user_stage import UserStage
from tests.interaction_columns import MANY, columns

START = 1_767_225_600_000


def same(one: InteractionColumns, other: InteractionColumns) -> None:
    """Equal row by row; the tables may be cut to what is used."""
    assert one.partition == other.partition
    for ids, rows in (("user_ids", "users"), ("context_table", "contexts")):
        tables = ((c, getattr(c, ids)) for c in (one, other))
        first, second = ([table[at] for at in getattr(c, rows).tolist()] for c, table in tables)
        assert first == second
    first, second = ([c.item_ids[at] if at >= 0 else None for at in c.items.tolist()] for c in (one, other))
    assert first == second
    for name in ("topics", "offsets", "types", "undo", "values", "timestamps"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


# --- the codec ------------------------------------------------------------------------------------------------------------


@st.composite
def any_columns(draw: st.DrawFn) -> InteractionColumns:
    ids = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=9)
    users, items = draw(ids), draw(ids)
    table = draw(st.lists(st.lists(st.text(max_size=9), max_size=2).map(tuple), min_size=1, max_size=4))
    n = draw(st.integers(0, 12))

    def numbers(low: int, high: int) -> Any:
        return np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)), np.int64)

    types = numbers(0, len(EventType) - 1)
    forget = numbers(0, 5) == 0
    return InteractionColumns(
        draw(st.integers(0, 99)), users, items, table, numbers(0, len(users) - 1),
        np.where(forget, -1, numbers(0, len(items) - 1)), numbers(0, len(table) - 1), numbers(0, 3), numbers(0, 2**60),
        np.where(forget, FORGET, types), numbers(0, 1) == 1, np.where(numbers(0, 1) == 1, 3.5, np.nan), numbers(0, 2**60),
    )  # fmt: skip


@MANY
@given(any_columns())
def test_what_is_encoded_is_decoded(given_columns: InteractionColumns) -> None:
    same(decode_interactions(encode_interactions(given_columns)), given_columns)


def test_long_batches_are_cut_and_mention_only_their_own_ids() -> None:
    long = columns(list(range(2 * EVENTS_PER_MESSAGE + 1)))
    decoded = [decode_interactions(value) for value in interaction_messages(long)]
    assert [len(c.offsets) for c in decoded] == [EVENTS_PER_MESSAGE, EVENTS_PER_MESSAGE, 1]
    assert decoded[2].user_ids == [f"u{2 * EVENTS_PER_MESSAGE}"]


def hostile_values() -> Iterator[bytes | None]:
    good = msgpack.unpackb(encode_interactions(columns([1, 2])))
    rng = random.Random(3)
    yield from (None, b"", b"[]", b"\xc1", rng.randbytes(80), msgpack.packb(7), msgpack.packb({}))
    wrong = np.array([0, 99], "<i4").tobytes()
    changes: dict[str, Any] = {
        "version": 9, "partition": -1, "user_ids": ["", "b"], "item_ids": [7], "context_table": [["x" * 999]], "users": wrong,
        "items": np.array([0, -1], "<i4").tobytes(), "contexts": wrong, "topics": b"\x00\x09", "offsets": b"\x00" * 8,
        "types": b"\x01\x63", "undo": b"\x00\x07", "values": np.array([1, np.inf], "<f4").tobytes(),
        "timestamps": np.array([-5, 1], "<i8").tobytes(),
    }  # fmt: skip
    for name, value in changes.items():
        yield msgpack.packb(good | {name: value})
        yield msgpack.packb({key: kept for key, kept in good.items() if key != name})


@pytest.mark.parametrize("value", list(hostile_values()))
def test_what_the_user_stage_did_not_write_is_refused(value: bytes | None) -> None:
    with pytest.raises(InvalidEvent, match="not_interactions"):
        decode_interactions(value)


@MANY
@given(st.binary(max_size=200), st.data())
def test_damage_never_raises_anything_else(noise: bytes, data: st.DataObject) -> None:
    value = bytearray(encode_interactions(columns([1, 2, 3])))
    at = data.draw(st.integers(0, len(value)))
    value[at : at + len(noise)] = noise
    try:
        decode_interactions(bytes(value))
    except InvalidEvent as error:
        assert error.reason == "not_interactions"


def test_lots_depend_on_the_place_in_the_log_alone_and_are_even() -> None:
    many = columns([5] * 20_000, partition=3)
    drawn = lots(many)
    assert (lots(rows_of(many, slice(100, 200))) == drawn[100:200]).all()
    assert (
        len(np.unique(np.concatenate([drawn, lots(many._replace(partition=4)), lots(many._replace(topics=many.topics + 1))])))
        == 60_000
    )
    assert abs((drawn < 0.02 * 2.0**64).mean() - 0.02) < 0.005


def test_every_row_attribute_is_encoded() -> None:
    assert set(InteractionColumns._fields) == {"partition", "user_ids", "item_ids", "context_table", *ROW_COLUMNS}


# --- what the user stage says ---------------------------------------------------------------------------------------------


class Teller:
    """A user stage whose messages are decoded."""

    def __init__(self) -> None:
        self.stage = UserStage(0, ModelSettings(partitions=1), Catalogue())

    def told(self, events: list[tuple[Event, str, int]], profiles: list[Profile] | None = None) -> list[InteractionColumns]:
        batch = UserBatch(profiles=profiles or [])
        for n, (event, topic, offset) in enumerate(events):
            batch.append(event, topic, offset, START + n, None)
        self.stage.load(missing := self.stage.missing(batch), [None] * len(missing))
        return [decode_interactions(value) for value in self.stage.apply(batch, START).interactions]


def test_the_learner_is_told_every_applied_event_in_order_and_no_duplicate() -> None:
    (told,) = Teller().told(
        [
            (Event("u", "7", EventType.CLICK, START, "a", None, False, ("device=tv",)), CLICKS, 5),
            (Event("u", "7", EventType.CLICK, START, "a"), CLICKS, 6),
            (Event("v", "8", EventType.VIEW, START - 9, None), VIEWS, 2),
            (Event("u", "9", EventType.RATING, START + 1, None, 3.5), FEEDBACK, 0),
            (Event("u", "9", EventType.RATING, START + 2, None, None, True), FEEDBACK, 1),
        ]
    )
    assert [told.user_ids[u] for u in told.users] == ["u", "v", "u", "u"]
    assert [told.item_ids[i] for i in told.items] == ["7", "8", "9", "9"]
    assert [(USER_STAGE_TOPICS[t], o) for t, o in zip(told.topics, told.offsets, strict=True)] == [
        (CLICKS, 5), (VIEWS, 2), (FEEDBACK, 0), (FEEDBACK, 1)
    ]  # fmt: skip
    assert told.types.tolist() == [EventType.CLICK, EventType.VIEW, EventType.RATING, EventType.RATING]
    assert told.undo.tolist() == [False, False, False, True]
    np.testing.assert_array_equal(told.values, np.array([np.nan, np.nan, 3.5, np.nan], np.float32))
    assert told.timestamps.tolist() == [START, START - 9, START + 1, START + 2]
    assert [told.context_table[c] for c in told.contexts] == [("device=tv",), (), (), ()]


def test_forgetting_stands_where_it_happened_between_the_events() -> None:
    events = [(Event("u", str(n), EventType.CLICK, START, None), CLICKS, n) for n in range(3)]
    early, late = Teller().told(events, [Profile("u", None, START + 1, 4)])
    assert [early.item_ids[i] for i in early.items] == ["0", "1"]
    assert late.types.tolist() == [FORGET, EventType.CLICK]
    assert (USER_STAGE_TOPICS[late.topics[0]], late.offsets[0], late.user_ids[late.users[0]]) == (USERS, 4, "u")
    (only,) = Teller().told([], [Profile("w", b"{}", START, 1), Profile("u", None, START, 2)])
    assert (only.types.tolist(), only.offsets.tolist(), only.user_ids) == ([FORGET], [2], ["u"])
    assert Teller().told([], [Profile("w", b"{}", START, 1)]) == []
