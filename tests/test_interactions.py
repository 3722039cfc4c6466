"""What the user stage tells the learner: the codec, and the merge of the partitions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.catalogue import Catalogue
from schemas.errors import InvalidEvent
from schemas.events import Event, EventType
from schemas.topics import CLICKS, FEEDBACK, USER_STAGE_TOPICS, USERS, VIEWS
from stream_workers.handlers.interaction_merge import InteractionMerge, Merged
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

START = 1_767_225_600_000
MANY = settings(deadline=None, max_examples=60)


def columns(times: list[int], partition: int = 0, first: int = 0, topic: str = CLICKS) -> InteractionColumns:
    """A row for each time, by user u<time>, with consecutive offsets of one source."""
    n = len(times)
    rows = np.arange(n, dtype=np.int32)
    return InteractionColumns(
        partition, [f"u{time}" for time in times], ["7"], [("device=tv",)], rows, rows * 0, rows * 0,
        np.full(n, USER_STAGE_TOPICS.index(topic), np.uint8), np.arange(first, first + n), np.ones(n, np.uint8),
        np.zeros(n, np.bool_), np.full(n, np.nan, np.float32), np.array(times, np.int64),
    )  # fmt: skip


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


# --- the merge ------------------------------------------------------------------------------------------------------------


def drained(merge: InteractionMerge, limit: int = 1000) -> list[Merged]:
    merge.release(merge.waiting())
    parts = []
    while (part := merge.take(limit)) is not None:
        assert len(part.users) <= limit
        parts.append(part)
    return parts


def times_of(parts: list[Merged]) -> list[int]:
    return [int(time) for part in parts for time in part.timestamps]


def test_partitions_are_merged_by_event_time() -> None:
    merge = InteractionMerge(range(2), {})
    merge.add(0, 0, columns([10, 30, 50]))
    merge.add(1, 0, columns([20, 40], partition=1))
    taken = merge.take(100)
    assert taken is not None
    assert taken.timestamps.tolist() == [10, 20, 30, 40]  # 50 waits: partition 1 may still deliver 45
    assert taken.users == ["u10", "u20", "u30", "u40"]
    assert merge.take(100) is None
    merge.add(1, 1, columns([45, 60], partition=1, first=2))
    assert times_of([merge.take(1) or pytest.fail("nothing"), merge.take(1) or pytest.fail("nothing")]) == [45, 50]


def test_nothing_is_taken_while_a_partition_is_empty_until_it_is_released() -> None:
    merge = InteractionMerge(range(2), {})
    merge.add(0, 0, columns([10, 20]))
    assert merge.take(100) is None
    waiting = merge.waiting()
    merge.add(0, 1, columns([30], first=2))
    merge.release(waiting)
    assert times_of([merge.take(100) or pytest.fail("nothing")]) == [10, 20]
    assert merge.take(100) is None


@MANY
@given(st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=4), st.integers(1, 7), st.integers(0, 10**6))
def test_every_row_is_taken_exactly_once_whatever_is_sent_twice_and_wherever_it_restarts(
    streams: list[list[int]], size: int, seed: int
) -> None:
    rng = random.Random(seed)
    sent: list[list[InteractionColumns]] = []
    for partition, times in enumerate(streams):
        messages, at = [], 0
        while at < len(times):
            back = rng.randrange(0, at + 1) if rng.random() < 0.3 else at  # a restarted user stage sends from its watermark
            end = min(len(times), max(at, back) + rng.randrange(1, 9))
            messages.append(columns(times[back:end], partition, back))
            at = max(at, end)
        sent.append(messages)
    marks: dict[str, int] = {}
    taken: list[tuple[int, int]] = []  # partition, time
    for _ in range(400):
        merge = InteractionMerge(range(len(sent)), marks)
        for partition, messages in enumerate(sent):
            first = marks.get(f"interactions:{partition}", -1) + 1
            for offset, message in list(enumerate(messages))[first : first + rng.randrange(1, 4)]:
                merge.add(partition, offset, message)
        merge.release(merge.waiting())
        for _ in range(rng.randrange(1, 4)):
            part = merge.take(size)
            for p in range(len(streams)) if part is not None else ():
                before, after = (m.get(f"clicks:{p}", -1) for m in (marks, merge.marks))
                taken += [(p, streams[p][offset]) for offset in range(before + 1, after + 1)]
            if part is not None:
                assert sorted(part.timestamps.tolist()) == sorted(time for _, time in taken[-len(part.users) :])
            marks = dict(merge.marks)  # a restart forgets everything else
        if sum(map(len, streams)) == len(taken):
            break
    assert sorted(taken) == sorted((p, time) for p, times in enumerate(streams) for time in times)


@MANY
@given(st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=4), st.integers(1, 50))
def test_rows_of_a_partition_keep_their_order_and_merge_as_late_as_the_latest_before_them(
    streams: list[list[int]], limit: int
) -> None:
    merge = InteractionMerge(range(len(streams)), {})
    for partition, times in enumerate(streams):
        merge.add(partition, 0, columns([1000 * time + partition for time in times], partition))
    found = times_of(drained(merge, limit))
    for partition, times in enumerate(streams):
        assert [time for time in found if time % 1000 == partition] == [1000 * time + partition for time in times]
    if all(times == sorted(times) for times in streams):
        assert found == sorted(found)
    assert merge.rows == 0


def test_marks_name_the_last_whole_message_and_the_last_row() -> None:
    merge = InteractionMerge(range(1), {})
    merge.add(0, 7, columns([1, 2, 3], first=40))
    merge.skip(0, 8)
    merge.take(2)
    assert merge.marks == {"clicks:0": 41}
    merge.take(2)
    assert merge.marks == {"clicks:0": 42, "interactions:0": 8}
    merge.skip(0, 9)
    assert merge.marks["interactions:0"] == 9


def test_a_message_of_another_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="partition 5"):
        InteractionMerge(range(2), {}).add(0, 0, columns([1], partition=5))


def test_every_row_attribute_is_encoded() -> None:
    assert set(InteractionColumns._fields) == {"partition", "user_ids", "item_ids", "context_table", *ROW_COLUMNS}


def test_topics_that_are_read_ahead_of_each_other_are_merged_too() -> None:
    merge = InteractionMerge(range(1), {})
    merge.add(0, 0, columns([10, 30, 50, 70]))
    merge.add(0, 1, columns([20, 40], topic=VIEWS))
    taken = merge.take(100)
    assert taken is not None
    assert taken.timestamps.tolist() == [10, 20, 30, 40]  # the views may still go on with 45
    assert merge.silent() == [(0, VIEWS)]
    assert times_of(drained(merge)) == [50, 70]
    assert merge.marks == {"clicks:0": 3, "views:0": 1, "interactions:0": 1}


def test_nobody_waits_for_a_topic_that_nobody_uses() -> None:
    merge = InteractionMerge(range(1), {})
    merge.add(0, 0, columns([10, 20]))
    assert times_of([merge.take(100) or pytest.fail("nothing")]) == [10, 20]
    known = InteractionMerge(range(1), {"views:0": 5})
    known.add(0, 0, columns([10, 20]))
    assert known.take(100) is None, "there were views before the restart"


def test_forgetting_stands_between_what_came_before_and_after_whatever_the_topics() -> None:
    merge = InteractionMerge(range(2), {})
    merge.add(0, 0, columns([500]))
    merge.add(0, 1, columns([10, 900], topic=VIEWS))
    gone = columns([0], topic=USERS)._replace(types=np.array([FORGET], np.uint8), items=np.array([-1]))
    merge.add(0, 2, gone)
    merge.add(0, 3, columns([20], first=1))
    merge.add(0, 4, columns([30], topic=VIEWS, first=2))
    merge.add(1, 0, columns([100], partition=1))
    types, times = [], []
    for part in drained(merge, limit=2):
        types += part.types.tolist()
        times += part.timestamps.tolist()
    assert times[:5] == [10, 100, 500, 900, 0]
    assert sorted(times[5:]) == [20, 30]
    assert types.index(FORGET) == 4
    assert merge.marks["users:0"] == 0


@MANY
@given(
    st.lists(st.tuples(st.sampled_from([VIEWS, CLICKS, FEEDBACK]), st.integers(1, 5)), max_size=20), st.integers(1, 9), st.data()
)
def test_every_row_of_every_topic_is_taken_exactly_once_wherever_it_restarts(
    runs: list[tuple[str, int]], size: int, data: st.DataObject
) -> None:
    messages, sent = [], dict.fromkeys((VIEWS, CLICKS, FEEDBACK), 0)
    for topic, count in runs:
        times = data.draw(st.lists(st.integers(0, 50), min_size=count, max_size=count))
        messages.append(columns(times, topic=topic, first=sent[topic]))
        sent[topic] += count
    marks: dict[str, int] = {}
    taken = 0
    for _ in range(len(messages) * 5 + 1):
        merge = InteractionMerge(range(1), marks)
        first = marks.get("interactions:0", -1) + 1
        for offset in range(first, min(first + data.draw(st.integers(1, 4)), len(messages))):
            merge.add(0, offset, messages[offset])
        merge.release(merge.waiting())
        part = merge.take(size)
        taken += len(part.users) if part is not None else 0
        marks = dict(merge.marks)
    while (part := merge.take(size)) is not None:
        taken += len(part.users)
    assert taken <= sum(sent.values())
    assert all(merge.marks.get(f"{topic}:0", -1) <= count - 1 for topic, count in sent.items())
    assert taken == sum(merge.marks.get(f"{topic}:0", -1) + 1 for topic in sent)
