"""A user who is forgotten leaves the counts of items as if they had never been there."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.forgotten_blob import HASH_BYTES, hash_of, pack_forgotten, unpack_forgotten
from feature_store.item_blob import ItemState, decay_factors, unpack_item, window_counts
from feature_store.keys import damaged_user_key, forgotten_key, item_key, user_key
from feature_store.packing import CorruptBlob
from schemas.errors import InvalidEvent
from schemas.events import Event
from schemas.horizons import DAY_MS, HOUR_MS
from stream_workers.handlers.fan_out import EVENTS_PER_MESSAGE
from stream_workers.handlers.forgotten_users import ForgottenUsers
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.signals import INVERSE_VERSION, decode_signals, encode_signals
from tests.test_item_stage import Items
from tests.test_stages import CUTS, START, Row, Users, cut, stream

EVE, COUNT = "eve-4711", 150
ROOMY = ModelSettings(partitions=1, history_length=40, neighbours=20)
END = START + 60_000 * COUNT
FEW = settings(deadline=None, max_examples=25)


def with_eve(rows: Sequence[Row], seed: int, events: int = 30) -> list[Row]:
    """The stream with events of Eve's between, in the order of their times; offsets are counted anew."""
    rng, found = random.Random(seed), list(rows)
    for place in sorted(rng.sample(range(len(rows)), events), reverse=True):
        at = START + 60_000 * place + 7
        kind = rng.choice([0, 1, 1, 2, 3, 6, 7])
        topic = ("views", "clicks")[kind] if kind < 2 else "feedback"
        found.insert(place, (Event(EVE, str(rng.randrange(15)), kind, at, None), topic, 0, at))
    offsets: dict[str, Iterator[int]] = defaultdict(count)
    return [(event, topic, next(offsets[topic]), at) for event, topic, _, at in found]


def items_after(users: Users, numbers: ModelSettings = ROOMY, times: int = 1) -> dict[bytes, ItemState]:
    """What the items hold after all that the user stage sent, each message so many times."""
    items = Items(numbers)
    for message in [*users.messages] * times:
        items.apply(message)
    return {key: unpack_item(blob) for key, blob in items.store.items() if key.startswith(b"i:")}


def assert_alike(found: dict[bytes, ItemState], expected: dict[bytes, ItemState], now: int = END) -> None:
    """Counts and windows bit for bit; sums of floats as exactly as sums of floats can be. Items without a trace are none."""
    for key in found.keys() | expected.keys():
        one, other = found.get(key, ItemState()), expected.get(key, ItemState())
        assert one.counts == other.counts, key
        assert window_counts(one.buckets, one.newest, now) == window_counts(other.buckets, other.newest, now), key
        decayed = [np.array(state.decayed) * decay_factors(now - state.newest) for state in (one, other)]
        np.testing.assert_allclose(*decayed, rtol=1e-9, atol=1e-12, err_msg=str(key))
        assert one.neighbours.keys() == other.neighbours.keys(), key
        weights = [[state.neighbours[name] for name in one.neighbours] for state in (one, other)]
        shift = 2.0 ** (-(one.neighbours_at - other.neighbours_at) / ROOMY.pair_half_life_ms)
        np.testing.assert_allclose(weights[0], np.array(weights[1]) * shift, rtol=2e-4, err_msg=str(key))


@FEW
@given(st.integers(0, 9), st.integers(0, 99), CUTS, st.booleans())
def test_items_are_as_if_they_had_never_been_there(seed: int, eve: int, places: list[int], restart: bool) -> None:
    rows = stream(COUNT, seed)
    users, without = Users(ROOMY), Users(ROOMY)
    without.apply(rows)
    for part in cut(with_eve(rows, eve), places):
        users.apply(part)
        if restart:
            users.restart()
    assert items_after(users) != items_after(without), "there is something to take back"
    users.apply([], [(EVE, None, END)])
    assert_alike(items_after(users), items_after(without))
    assert_alike(items_after(users, times=2), items_after(without))
    assert not any(EVE.encode() in part for pair in users.store.items() for part in pair)


def test_somebody_alone_with_an_item_leaves_nothing_of_it() -> None:
    users = Users(ROOMY)
    users.apply([(Event(EVE, str(n), 1, START + n, None), "clicks", n, START) for n in range(5)])
    users.apply([], [(EVE, None, END)])
    assert items_after(users) == {item_key(0, str(n)): ItemState() for n in range(5)}


def test_the_log_read_again_takes_back_what_the_item_stage_kept_and_no_more() -> None:
    """Redis is flushed, Kafka keeps the signals: the wish is read before the events, which are then never sent again."""
    rows = with_eve(stream(COUNT, 3), 3)
    first, without = Users(ROOMY), Users(ROOMY)
    first.apply(rows)
    first.apply([], [(EVE, None, END)])
    without.apply(stream(COUNT, 3))
    again = Users(ROOMY)
    again.apply([], [(EVE, None, END)])
    again.apply(rows)
    assert not any(EVE.encode() in key for key in again.store), "the log does not bring them back"
    kept = items_after(first)
    replayed = Items(ROOMY)
    for message in [*first.messages, *again.messages]:
        replayed.apply(message)
    assert {key: unpack_item(blob) for key, blob in replayed.store.items()} == kept
    assert_alike(items_after(again), items_after(without))


def test_nothing_is_taken_back_beyond_the_history_and_nothing_below_zero() -> None:
    short = ROOMY._replace(history_length=4)
    users = Users(short)
    users.apply([(Event(EVE, str(n % 3), 1, START + n, None), "clicks", n, START) for n in range(10)])
    users.apply([], [(EVE, None, END)])
    left = items_after(users, short)
    assert [left[item_key(0, str(n))].counts[1] for n in range(3)] == [10 // 3 + (n < 1) - (1 + (n == 0)) for n in range(3)]
    inverse = [message for message in users.messages if message.inverse]
    items = Items(short)
    items.apply(*inverse)  # of events that this stage never saw
    for state in map(unpack_item, items.store.values()):
        assert (sum(state.counts), sum(state.buckets), state.neighbours) == (0, 0, {})
        assert state.decayed == [0.0] * len(state.decayed)


def test_many_at_once_are_each_taken_back_whole() -> None:
    """A second message of one forgetting would be skipped by its offset."""
    people = EVENTS_PER_MESSAGE // ROOMY.history_length + 5
    users = Users(ROOMY)
    names = [f"u{n}" for n in range(people)]
    rows = [
        (Event(name, str(at % 11), 1, START + at, None), "clicks", at * people + n, START)
        for at in range(ROOMY.history_length)
        for n, name in enumerate(names)
    ]
    users.apply(rows)
    users.apply([], [(name, None, END + n, n) for n, name in enumerate(names)])
    inverse = [message for message in users.messages if message.inverse]
    assert len(inverse) == 2
    assert {len(set(message.offsets.tolist())) for message in inverse} == {people - 5, 5}
    assert all(state == ItemState() for state in items_after(users).values())


def test_an_older_worker_refuses_what_it_would_add_once_more() -> None:
    users = Users(ROOMY)
    users.apply([(Event(EVE, "1", 1, START, None), "clicks", 0, START)])
    users.apply([], [(EVE, None, END)])
    value = encode_signals(users.messages[-1])
    assert msgpack.unpackb(value)["version"] == INVERSE_VERSION
    with pytest.raises(InvalidEvent, match="version"):
        decode_signals(msgpack.packb(msgpack.unpackb(value) | {"version": 1}))


def test_two_wishes_in_one_batch_each_stand_where_they_were_logged() -> None:
    users = Users(ROOMY)
    clicks = [(Event("u", str(n), 1, START + n, None), "clicks", n, START + n) for n in range(6)]
    users.apply(clicks, [("u", None, START + 2, 0), ("other", None, START + 4, 1)])
    assert [entry.item_id for entry in users.state("u").history] == ["5", "4", "3"]


def test_what_was_put_aside_because_it_was_damaged_goes_too() -> None:
    users = Users(ROOMY, {user_key(0, EVE): b"\x01damaged"})
    users.apply([(Event(EVE, "7", 1, START, None), "clicks", 0, START)])
    assert damaged_user_key(0, EVE) in users.store
    users.apply([], [(EVE, None, END)])
    assert set(users.store) == {forgotten_key(0)}


# --- the marks ------------------------------------------------------------------------------------------------------------


def test_marks_survive_their_bytes_and_tell_nothing() -> None:
    marks = ForgottenUsers(b"salt")
    marks.add("eve", START)
    marks.add("ann", START + 5)
    blob = marks.packed()
    again = ForgottenUsers(b"salt", unpack_forgotten(blob))
    assert [again.time_of(name) for name in ("eve", "ann", "bob")] == [START, START + 5, 0]
    assert b"eve" not in blob
    assert ForgottenUsers(b"other salt", unpack_forgotten(blob)).time_of("eve") == 0
    for damaged in (blob[:-1], pack_forgotten({bytes(HASH_BYTES): 1})[:-9] + b"x" * 9, b""):
        with pytest.raises(CorruptBlob):
            unpack_forgotten(damaged)


def test_marks_go_when_nothing_from_before_can_come_again() -> None:
    marks = ForgottenUsers(b"", {hash_of("old", b""): START}, keep_ms=30 * DAY_MS)
    marks.add("new", START + 30 * DAY_MS)
    assert marks.time_of("old") == START
    marks.add("newer", START + 30 * DAY_MS + HOUR_MS)
    assert [marks.time_of(name) > 0 for name in ("old", "new", "newer")] == [False, True, True]
    marks.add("new", START)
    assert marks.time_of("new") == START + 30 * DAY_MS, "a wish that comes again late does not bring anything back"
