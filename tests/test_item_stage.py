"""The item stage and the signals that feed it: values in, values out."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.item_blob import ItemState, unpack_item
from feature_store.keys import category_trending_key, item_key, trending_key
from feature_store.trending_blob import unpack_trending
from feature_store.user_blob import TYPES
from schemas.errors import InvalidEvent
from schemas.horizons import HALF_LIVES
from schemas.topics import MAX_OWN_MESSAGE_BYTES
from stream_workers.handlers.fan_out import EVENTS_PER_MESSAGE
from stream_workers.handlers.item_stage import ItemStage
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.signals import Signals, decode_signals, encode_signals
from stream_workers.handlers.user_batch import UserBatch
from stream_workers.handlers.user_stage import UserStage
from tests.test_stages import CATALOGUE, CUTS, SMALL, START, Row, State, cut, stream

FEW = settings(deadline=None, max_examples=20)
FUZZ = settings(deadline=None, max_examples=150)


def messages_of(rows: list[Row], places: list[int], numbers: ModelSettings = SMALL) -> list[Signals]:
    """What the user stage sends for this stream when it is cut at these places."""
    stage, messages = UserStage(0, numbers, CATALOGUE), []
    for part in cut(rows, places):
        batch = UserBatch()
        for event, topic, offset, appended in part:
            batch.append(event, topic, offset, appended, None)
        stage.load(missing := stage.missing(batch), [None] * len(missing))
        messages += [decode_signals(value) for wave in stage.apply(batch, START).waves for _, value in wave]
    return messages


class Items:
    """An item stage and its store."""

    def __init__(self, numbers: ModelSettings = SMALL, store: State | None = None) -> None:
        self.numbers, self.store = numbers, {} if store is None else store
        self.watermarks: dict[str, int] = {}
        self.restart()

    def restart(self) -> None:
        self.stage = ItemStage(0, self.numbers, self.watermarks)
        blob = self.store.get(trending_key(0))
        leaders = unpack_trending(blob).items if blob else []
        self.load(leaders)
        self.stage.lead(leaders)

    def load(self, items: list[str]) -> None:
        self.stage.load(items, [self.store.get(item_key(0, item)) for item in items])

    def apply(self, *messages: Signals) -> None:
        self.load(self.stage.missing(messages))
        self.stage.apply(messages)
        self.store |= self.stage.changes()
        self.watermarks = dict(self.stage.watermarks)

    def trend(self, categories: dict[str, list[str]] | None = None) -> None:
        self.load(self.stage.missing_items(item for items in (categories or {}).values() for item in items))
        self.store |= self.stage.trending(categories or {})
        self.stage.shrink()

    def state(self, item: str) -> ItemState:
        return unpack_item(self.store[item_key(0, item)])

    def states(self) -> dict[bytes, ItemState]:
        return {key: unpack_item(blob) for key, blob in self.store.items() if key.startswith(b"i:")}


def click(item: str, offset: int, at: int = START) -> Signals:
    none, one = np.zeros(0, np.int32), np.array([0], np.int32)
    when = np.array([at], np.int64)
    return Signals(
        ("clicks", 0), [item], np.array([offset]), when, np.array([1], np.uint8), one, none, none, none, np.zeros(0, np.float32)
    )


def same_states(found: dict[bytes, ItemState], expected: dict[bytes, ItemState]) -> None:
    """Counts and windows bit for bit; what is summed in floating point within rounding."""
    assert found.keys() == expected.keys()
    for key, state in expected.items():
        for name in ("counts", "newest", "buckets", "neighbours_at"):
            assert getattr(found[key], name) == getattr(state, name), (key, name)
        assert found[key].decayed == pytest.approx(state.decayed, rel=1e-9)
        assert found[key].neighbours == pytest.approx(state.neighbours, rel=1e-5)


@FEW
@given(st.integers(0, 9), CUTS, CUTS, st.booleans())
def test_signals_count_once_in_any_cut_and_recut(seed: int, first: list[int], second: list[int], restart: bool) -> None:
    """A user stage that lost its commit sends the same events again, in other messages."""
    rows = stream(120, seed)
    once, again = Items(), Items()
    once.apply(*messages_of(rows, []))
    sent = messages_of(rows, first)
    again.apply(*sent[: len(sent) // 2])
    for message in messages_of(rows, second):
        if restart:
            again.restart()
        again.apply(message)
    same_states(again.states(), once.states())


def test_signals_at_or_below_the_watermark_of_their_source_change_nothing() -> None:
    items = Items()
    items.apply(click("7", 5))
    before = dict(items.store)
    for offset in (0, 4, 5):
        items.apply(click("7", offset))
    assert items.store == before
    items.apply(click("7", 6), click("7", 2)._replace(source=("clicks", 1)))
    assert (items.state("7").counts[1], items.watermarks) == (3, {"clicks:0": 6, "clicks:1": 2})


def test_a_stage_that_is_read_back_from_its_blobs_goes_on_identically() -> None:
    messages = messages_of(stream(200), list(range(0, 200, 11)))
    steady, restarted = Items(), Items()
    for message in messages:
        steady.apply(message)
        restarted.restart()
        restarted.apply(message)
    assert restarted.states() == steady.states()


def test_a_tiny_cache_changes_no_item() -> None:
    roomy, tight = Items(), Items(SMALL._replace(cached_items=3))
    for message in messages_of(stream(200, items=40), list(range(0, 200, 11))):
        for items in (roomy, tight):
            items.apply(message)
            items.trend()
    assert tight.states() == roomy.states()


def test_a_tiny_cache_drops_no_leader() -> None:
    """The strongest item of all stays in the list although nobody takes it for a while."""
    items = Items(SMALL._replace(cached_items=4))
    items.apply(*(click("hit", n) for n in range(50)))
    items.trend()
    for n in range(12):
        items.apply(click(f"new{n}", 100 + n))
        items.trend()
    found = unpack_trending(items.store[trending_key(0)])
    assert dict(zip(found.items, found.windows[:, 1].tolist(), strict=True))["hit"] == 50


def test_trending_lists_say_what_the_items_blobs_say() -> None:
    items = Items()
    for part in messages_of(stream(200), list(range(0, 200, 20))):
        items.apply(part)
        items.trend({"c0": ["0", "3", "6", "9"]})
    found = unpack_trending(items.store[trending_key(0)])
    assert set(found.items) == {str(n) for n in range(12)}
    for item, decayed in zip(found.items, found.decayed, strict=True):
        state = items.state(item)
        wanted = [
            v * 2.0 ** (-(found.at - state.newest) / half) for v, half in zip(state.decayed, HALF_LIVES.values(), strict=True)
        ]
        assert decayed.tolist() == pytest.approx(wanted, rel=1e-5)
    assert set(unpack_trending(items.store[category_trending_key(0, "c0")]).items) == {"0", "3", "6", "9"}


def test_a_damaged_item_blob_is_put_aside_and_the_item_starts_anew() -> None:
    items = Items(store={item_key(0, "7"): b"\x01damaged"})
    items.apply(click("7", 0))
    assert items.store[b"damaged:" + item_key(0, "7")] == b"\x01damaged"
    assert items.state("7").counts[1] == 1


# --- signals --------------------------------------------------------------------------------------------------------------


def equal(one: Signals, other: Signals) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_signals_come_back_as_they_were() -> None:
    for message in [*messages_of(stream(100), [30]), click("ü" * 128, 2**40)]:
        assert equal(decode_signals(encode_signals(message)), message)


def applicable(value: bytes | None) -> None:
    """Either refused, or applied without harm to other items."""
    try:
        message = decode_signals(value)
    except InvalidEvent as error:
        assert error.reason == "not_signals"
        return
    items = Items()
    items.apply(message)
    assert all(np.isfinite([*s.decayed, *s.neighbours.values()]).all() for s in items.states().values())


GOOD = msgpack.unpackb(encode_signals(messages_of(stream(8), [])[-1]))


@FUZZ
@given(st.binary(max_size=200))
def test_random_bytes_are_no_signals(value: bytes) -> None:
    applicable(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2), ("version", None), ("source", "clicks"),
        ("source", ["clicks", float("inf")]), ("source", ["clicks", None]), ("source", 5),
        ("ids", 5), ("ids", []), ("ids", "abc"), ("ids", [1] * 40), ("ids", [""] * 40), ("ids", [b"x"] * 40),
        ("ids", ["x" * 70_000] * 40),
        ("offsets", b"x"), ("offsets", b""), ("offsets", "text"), ("types", None), ("items", np.full(2, 99, "<i4").tobytes()),
        ("pair_events", b"\xff" * 4), ("pair_weights", b""),
    ],
)  # fmt: skip
def test_signals_with_a_hostile_field_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidEvent, match="not_signals"):
        decode_signals(msgpack.packb(GOOD | {name: value}))


@pytest.mark.parametrize(
    ("name", "value", "form"),
    [("types", TYPES, "u1"), ("types", 255, "u1"), ("pair_rows", -1, "<i4"), ("pair_others", -1, "<i4"), ("pair_events", -1, "<i4"),
     ("pair_weights", np.nan, "<f4"), ("pair_weights", np.inf, "<f4")],
)  # fmt: skip
def test_signals_with_a_number_out_of_range_are_refused(name: str, value: float, form: str) -> None:
    """The kernels do not check bounds: a type of 255 would write behind its array."""
    column = np.frombuffer(GOOD[name], form).copy()
    assert len(column)
    column[-1] = value
    with pytest.raises(InvalidEvent, match="not_signals"):
        decode_signals(msgpack.packb(GOOD | {name: column.tobytes()}))


def test_a_message_of_the_longest_ids_stays_far_below_the_largest_that_kafka_takes() -> None:
    rng, batch, stage = random.Random(1), UserBatch(), UserStage(0, ModelSettings(partitions=1), CATALOGUE)
    for n in range(2 * EVENTS_PER_MESSAGE):
        event = stream(1)[0][0]._replace(user_id=f"u{n % 9}", item_id=f"{n:0256d}", type=rng.choice([1, 2]), event_id=None)
        batch.append(event, "clicks", n, START, None)
    stage.load(missing := stage.missing(batch), [None] * len(missing))
    sizes = [len(value) for wave in stage.apply(batch, START).waves for _, value in wave]
    assert len(sizes) == 2
    assert max(sizes) < MAX_OWN_MESSAGE_BYTES // 3
