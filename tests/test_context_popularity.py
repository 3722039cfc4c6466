"""Popularity by context: counts by hand, the guarantees of space-saving, and bounds that hold whatever the events say."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from schemas.events import EventType
from schemas.horizons import DAY_MS, HOUR_MS
from serving.followed_model import contexts_in
from stream_workers.handlers.interaction_merge import Merged
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.context_popularity import (
    CONTEXTS,
    HALF_LIVES_MS,
    PRIOR_EVENTS,
    WIDTH,
    ContextPopularity,
)
from tests.tiny_bank import TinyBank

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
PHONE, TV = ("device=phone",), ("device=tv",)


def clicks(rows: list[tuple[str, int, tuple[str, ...]]], **columns: Any) -> Interactions:
    """Item, time and contexts of each event."""
    items, times, contexts = (list(column) for column in zip(*rows, strict=True))
    batch = Interactions.taken(["u"] * len(rows), items, np.array(times, np.int64))
    return batch._replace(contexts=contexts, **columns)


def learnt(rows: list[tuple[str, int, tuple[str, ...]]]) -> ContextPopularity:
    popular = ContextPopularity()
    popular.learn_many(clicks(rows))
    return popular


def best(popular: ContextPopularity, *contexts: str, now: int = NOON, k: int = 10) -> list[str]:
    return popular.candidates(contexts, now, k)[0]


# --- what is counted


def test_the_share_of_a_context_by_hand() -> None:
    slow = HALF_LIVES_MS[1]
    before = NOON - int(slow)
    popular = learnt([("a", before, PHONE), ("a", before, PHONE), ("b", NOON, PHONE), ("c", NOON, TV)])
    found, scores = popular.candidates(PHONE, NOON, 10)
    assert sorted(found) == ["a", "b"]  # two that are one half-life old weigh as much as one now
    assert scores.tolist() == pytest.approx([1 / (2 + PRIOR_EVENTS)] * 2, rel=1e-5)
    assert popular.events(PHONE, NOON + int(slow)) == pytest.approx(1.0)


def test_contexts_are_apart_and_together_the_mean() -> None:
    country = ("country=DE", "device=phone")
    popular = learnt([("a", NOON, country)] * 3 + [("b", NOON, ("country=FR", "device=phone"))] * 4)
    assert best(popular, "country=DE") == ["a"]
    assert best(popular, "device=phone") == ["b", "a"]
    assert best(popular, "country=DE", "device=phone") == ["a", "b"]
    assert best(popular, "device=watch") == []
    assert best(popular) == []


def test_the_hour_is_that_of_the_event_in_utc() -> None:
    popular = learnt([("a", NOON, ()), ("b", NOON + HOUR_MS, ()), ("c", NOON + HOUR_MS - 1, ())])
    assert sorted(best(popular, "hour=12")) == ["a", "c"]
    assert best(popular, "hour=13") == ["b"]


def test_categories_are_those_of_the_catalogue_at_the_time() -> None:
    popular = ContextPopularity()
    popular.describe("a", ["Horror", "War"])
    popular.learn_many(clicks([("a", NOON, ()), ("b", NOON, ())]))
    assert best(popular, "category=Horror") == best(popular, "category=War") == ["a"]


def test_only_what_speaks_for_an_item_counts() -> None:
    popular = ContextPopularity()
    types = np.array([EventType.HIDE, EventType.DISLIKE, EventType.PURCHASE, EventType.CLICK], np.uint8)
    rows = [(item, NOON, PHONE) for item in "abcd"]
    popular.learn_many(clicks(rows, types=types, undo=np.array([False, False, False, True])))
    assert best(popular, *PHONE) == ["c"]


def test_velocity_is_one_for_a_steady_stream_and_above_for_what_rises() -> None:
    steady = [("steady", NOON - n * HOUR_MS, PHONE) for n in range(60 * 24, -1, -1)]
    rising = [("rising", NOON - n * 60_000, PHONE) for n in range(60)]
    popular = learnt(sorted(steady + rising, key=lambda row: row[1]))
    calm, fast, unknown = popular.velocities(PHONE, ["steady", "rising", "unknown"], NOON).tolist()
    assert calm == pytest.approx(1.0, abs=0.1)
    assert fast > 5
    assert unknown == 0


# --- space-saving


def stream(events: int, contexts: int, items: int, seed: int = 1) -> list[tuple[str, int, tuple[str, ...]]]:
    rng = np.random.default_rng(seed)
    what = np.minimum(rng.zipf(1.3, size=events), items)
    return [(f"i{item}", NOON + n, (f"device=d{rng.integers(contexts)}",)) for n, item in enumerate(what)]


def test_frequent_items_are_all_there_and_no_count_is_too_high() -> None:
    rows = stream(20_000, 2, 5_000)
    popular = learnt(rows)
    true = Counter(item for item, _, context in rows if context == ("device=d0",))
    total = true.total()
    found, scores = popular.candidates(["device=d0"], NOON + 20_000, WIDTH)
    counts = dict(zip(found, (scores * (total + PRIOR_EVENTS)).tolist(), strict=True))
    assert {item for item, count in true.items() if count > 2 * total / WIDTH} <= counts.keys()
    assert all(counts[item] <= true[item] * 1.001 for item in counts)
    assert found[:3] == [item for item, _ in true.most_common(3)]


def test_the_arrays_go_on_where_they_were() -> None:
    rows = stream(6_000, 20, 3_000)
    whole, first = ContextPopularity(), ContextPopularity()
    first.learn_many(clicks(rows[:3_000]))
    second = ContextPopularity()
    second.load(first.state())
    for popular in (first, second):
        popular.learn_many(clicks(rows[3_000:]))
    for name, array in first.state().items():
        assert np.array_equal(array, second.state()[name]), name
    whole.learn_many(clicks(rows))
    assert best(whole, "device=d3", k=5) == best(second, "device=d3", k=5)


def test_a_loaded_state_is_a_copy() -> None:
    first, second = learnt([("a", NOON, PHONE)]), ContextPopularity()
    second.load(first.state())
    first.learn_many(clicks([("b", NOON, PHONE)] * 5))
    assert best(second, *PHONE) == ["a"]


@pytest.mark.parametrize("name", ["keys", "slow", "ids", "landmarks"])
def test_a_state_of_another_kind_is_refused(name: str) -> None:
    popular, other = learnt([("a", NOON, PHONE)]), learnt([("b", NOON, PHONE)])
    for wrong in (None, np.zeros((3, 3), np.float16)):
        state = {key: array for key, array in other.state().items() if key != name} | ({} if wrong is None else {name: wrong})
        with pytest.raises(ValueError, match=name):
            popular.load(state)
    assert best(popular, *PHONE) == ["a"]


def test_inputs_are_left_alone() -> None:
    batch = clicks([("a", NOON, PHONE), ("b", NOON, TV)])
    copies = [np.array(column) if isinstance(column, np.ndarray) else list(column) for column in batch]
    ContextPopularity().learn_many(batch)
    assert all(np.array_equal(one, other, equal_nan=one.dtype.kind == "f") if isinstance(one, np.ndarray) else one == other
               for one, other in zip(batch, copies, strict=True))  # fmt: skip


# --- hostile events


def size(popular: ContextPopularity) -> int:
    return sum(array.nbytes for array in popular.state().values())


def finite(popular: ContextPopularity) -> bool:
    return all(np.isfinite(array).all() for array in popular.state().values() if array.dtype.kind == "f")


def test_more_contexts_and_items_than_there_is_room_for() -> None:
    popular = learnt([("hit", NOON, PHONE)] * 2_000)
    rows = [(f"item{n}", NOON + n, (f"device=bogus{n}", f"country=bogus{n}")) for n in range(5_000)]
    for start in range(0, len(rows), 500):
        popular.learn_many(clicks(rows[start : start + 500]))
    assert best(popular, *PHONE) == ["hit"], "what is heavy stays"
    assert np.count_nonzero(popular.state()["keys"]) == CONTEXTS
    assert size(popular) < 10 * 1024**2
    held = popular.state()["ids"]
    assert np.count_nonzero(held != b"") == len(np.unique(popular.state()["items"])) - 1, "an id for each place, and no other"


def test_the_ids_need_no_more_than_is_stated() -> None:
    popular = ContextPopularity()
    for turn in range(4):
        rows = [(f"{n}-{turn}-" + "x" * 240, NOON, (f"device={n % 500}",)) for n in range(20_000)]
        popular.learn_many(clicks(rows))
    assert size(popular) <= (CONTEXTS * WIDTH + 2 * 1024) * 256 * 2


@pytest.mark.parametrize("times", ["one", "backwards", "leaps"])
def test_any_clock(times: str) -> None:
    count = 3_000
    stamps = {
        "one": [NOON] * count,
        "backwards": [NOON - n * HOUR_MS for n in range(count)],
        "leaps": [(NOON, 0, NOON + 40_000 * DAY_MS, 631_152_000_000)[n % 4] for n in range(count)],
    }[times]
    popular = learnt([(f"i{n % 100}", stamp, PHONE) for n, stamp in enumerate(stamps)])
    found, scores = popular.candidates(PHONE, NOON, 10)
    assert finite(popular) and np.isfinite(scores).all()
    assert found or times == "leaps"
    assert ((scores > 0) & (scores <= 1)).all()
    assert np.isfinite(popular.velocities(PHONE, [f"i{n}" for n in range(100)], NOON)).all()
    assert np.isfinite(popular.candidates(PHONE, 2**62, 10)[1]).all()
    popular.learn_many(clicks([("after", max(stamps), PHONE)] * 50))
    assert best(popular, *PHONE)[0] == "after" or times == "one" or times == "backwards"


def test_odd_names_and_an_empty_batch() -> None:
    popular = ContextPopularity()
    popular.learn_many(Interactions.taken([], [], np.zeros(0, np.int64)))
    odd = ("device=" + "é" * 73, "=", "", "\ud800")
    popular.learn_many(clicks([("ärzte/ümlaut", NOON, odd), ("b", NOON, ("device=x",) * 1000)]))
    assert best(popular, odd[0]) == best(popular, "\ud800") == ["ärzte/ümlaut"]
    assert best(popular, "device=x") == ["b"]


def test_descriptions_are_bounded() -> None:
    popular = ContextPopularity()
    for n in range(200_010):
        popular.describe(str(n), ["Horror"] * 64)
    popular.learn_many(clicks([("3", NOON, ()), ("200009", NOON, ())]))
    assert best(popular, "category=Horror") == ["200009"]


def test_the_learner_counts_contexts_and_its_state_brings_them_to_the_api() -> None:
    stage = LearningStage(TinyBank(), 0.0, repeats=False)
    stage.describe([("a", ["Horror"], None)])
    stage.apply(
        Merged(
            ["u", "v"], ["a", "b"], [PHONE, TV], np.ones(2, np.uint8), np.full(2, np.nan, np.float32), np.zeros(2, np.bool_),
            np.array([NOON, NOON + 1]), np.zeros(2, np.uint64),
        )
    )  # fmt: skip
    again = LearningStage(TinyBank(), 0.0, repeats=False)
    again.load({name: array.copy() for name, array in stage.state().items()})
    followed = contexts_in(again.state())
    assert followed is not None
    assert (best(followed, *PHONE), best(followed, *TV), best(followed, "category=Horror")) == (["a"], ["b"], ["a"])
    assert contexts_in({}) is None
