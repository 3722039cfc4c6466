"""Each kernel against the formula of its docstring, written out in plain Python over all events at once."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from itertools import chain
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.item_blob import window_counts
from schemas.events import TYPE_WEIGHTS
from schemas.horizons import DAY_MS, HALF_LIVES, HOUR_MS, TOTAL_BUCKETS, WINDOWS
from schemas.timestamps import EARLIEST_MS
from stream_workers.models.affinity import update_affinities
from stream_workers.models.covisitation import update_neighbours
from stream_workers.models.history import update_histories
from stream_workers.models.popularity import sum_windows, update_popularity
from stream_workers.models.trending import decayed_at, strongest

MANY = settings(deadline=None, max_examples=80)
WEIGHTS = np.array(TYPE_WEIGHTS)
START = 1_767_225_600_000
IN_2100 = 4_102_444_800_000
HALVES = np.array(list(HALF_LIVES.values()), np.float64)
RINGS = np.array([window.buckets for window in WINDOWS.values()])
BUCKET_MS = np.array([window.bucket_ms for window in WINDOWS.values()])
ITEMS, USERS, NEIGHBOUR_HALF_LIFE = 6, 3, 30.0 * DAY_MS
ORDER = np.array([5, 3, 9, 1, 7, 2], np.uint64)  # any order that is the item's own


class Event(NamedTuple):
    user: int
    item: int
    type: int
    at: int


# Close together, ties included; days apart; and the ends of what is accepted.
TIMES = st.integers(0, 5).map(lambda n: START + n) | st.integers(0, 60 * 24).map(lambda n: START + n * 17 * 60_000)
ANY_TIMES = TIMES | st.sampled_from([EARLIEST_MS, IN_2100])


def streams(times: st.SearchStrategy[int] = TIMES, most: int = 40) -> st.SearchStrategy[list[Event]]:
    event = st.builds(Event, st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.integers(0, 7), times)
    return st.lists(event, max_size=most)


def column(events: list[Event], name: str) -> np.ndarray:
    return np.array([getattr(event, name) for event in events], np.int64)


class Histories:
    """The arrays that `update_histories` keeps."""

    def __init__(self, size: int = 5) -> None:
        self.items, self.types = np.zeros((USERS, size), np.int32), np.zeros((USERS, size), np.uint8)
        self.times, self.lengths = np.zeros((USERS, size), np.int64), np.zeros(USERS, np.int32)
        self.counts, self.newest = np.zeros((USERS, 8), np.uint32), np.zeros(USERS, np.int64)

    def add(
        self, events: list[Event], depth: int = 3, rho: float = 0.8, undo: list[bool] | None = None
    ) -> list[tuple[int, int, float]]:
        taken_back = np.array(undo or [False] * len(events))
        pairs = update_histories(
            *(column(events, name) for name in ("user", "item", "type", "at")), taken_back, WEIGHTS, ORDER, depth, rho,
            self.items, self.types, self.times, self.lengths, self.counts, self.newest,
        )  # fmt: skip
        return list(zip(*(part.tolist() for part in pairs), strict=True))

    def of(self, user: int) -> list[tuple[int, int, int]]:
        n = self.lengths[user]
        return list(zip(self.items[user, :n].tolist(), self.types[user, :n].tolist(), self.times[user, :n].tolist(), strict=True))


def newest_first(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda e: (e.at, e.type, int(ORDER[e.item])), reverse=True)


@MANY
@given(streams(ANY_TIMES), st.randoms(use_true_random=False))
def test_a_history_is_the_newest_events_whatever_order_they_came_in(events: list[Event], rng: random.Random) -> None:
    shuffled = rng.sample(events, len(events))
    kept = Histories()
    half = len(shuffled) // 2
    kept.add(shuffled[:half])
    kept.add(shuffled[half:])
    for user in range(USERS):
        mine = [e for e in events if e.user == user]
        assert kept.of(user) == [(e.item, e.type, e.at) for e in newest_first(mine)[:5]]
        assert kept.counts[user].tolist() == [sum(e.type == kind for e in mine) for kind in range(8)]
        assert kept.newest[user] == max((e.at for e in mine), default=0)


@MANY
@given(streams(ANY_TIMES), st.data())
def test_an_undo_removes_the_newest_entry_of_its_item_and_type_and_counts_nothing(events: list[Event], data: st.DataObject) -> None:
    kept = Histories(size=100)
    kept.add(events)
    counts, newest = kept.counts.copy(), kept.newest.copy()
    undone = data.draw(st.sampled_from(events)) if events else Event(0, 0, 2, START)
    assert kept.add([undone], undo=[True]) == []
    mine = newest_first([e for e in events if e.user == undone.user])
    gone = next((e for e in mine if (e.item, e.type) == (undone.item, undone.type) and e.at <= undone.at), None)
    if gone:
        mine.remove(gone)
    assert kept.of(undone.user) == [(e.item, e.type, e.at) for e in mine]
    assert (kept.counts == counts).all()
    assert (kept.newest == newest).all()


@MANY
@given(streams(), st.integers(1, 4))
def test_an_event_pairs_with_the_last_different_items_before_it(events: list[Event], depth: int) -> None:
    found = Histories(size=100).add(events, depth, 0.5)
    expected = []
    for n, event in enumerate(events):
        place = (event.at, event.type, int(ORDER[event.item]))
        before = [e for e in events[:n] if e.user == event.user and (e.at, e.type, int(ORDER[e.item])) <= place]
        others = [e.item for e in newest_first(before) if e.item != event.item and WEIGHTS[e.type] > 0]
        weight = WEIGHTS[event.type]
        expected += [(n, item, weight * 0.5**k) for k, item in enumerate(list(dict.fromkeys(others))[:depth]) if weight > 0]
    assert found == expected


class Popularity:
    """The arrays that `update_popularity` keeps."""

    def __init__(self, items: int = ITEMS) -> None:
        self.counts, self.newest = np.zeros((items, 8), np.uint32), np.zeros(items, np.int64)
        self.decayed, self.buckets = np.zeros((items, len(HALVES))), np.zeros((items, TOTAL_BUCKETS), np.uint32)

    def add(self, events: list[Event]) -> None:
        update_popularity(
            *(column(events, name) for name in ("item", "type", "at")), WEIGHTS, HALVES, RINGS, BUCKET_MS,
            self.counts, self.newest, self.decayed, self.buckets,
        )  # fmt: skip

    def at(self, now: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(self.newest))
        decayed = decayed_at(now, self.newest, self.decayed, HALVES)
        return decayed, sum_windows(rows, now, RINGS, BUCKET_MS, self.newest, self.buckets)


@MANY
@given(streams(ANY_TIMES), st.randoms(use_true_random=False), st.integers(0, 10 * DAY_MS))
def test_popularity_is_a_sum_over_events_in_any_order(events: list[Event], rng: random.Random, later: int) -> None:
    kept = Popularity()
    for event in rng.sample(events, len(events)):
        kept.add([event])
    now = max((e.at for e in events), default=START) + later
    decayed, windows = kept.at(now)
    for item in range(ITEMS):
        mine = [e for e in events if e.item == item]
        liked = [e for e in mine if WEIGHTS[e.type] > 0]
        assert kept.counts[item].tolist() == [sum(e.type == kind for e in mine) for kind in range(8)]
        sums = [sum(WEIGHTS[e.type] * 2.0 ** (-(now - e.at) / half) for e in liked) for half in HALF_LIVES.values()]
        assert decayed[item].tolist() == pytest.approx(sums, rel=1e-9, abs=1e-12)
        naive = [sum(now // w.bucket_ms - w.buckets < e.at // w.bucket_ms for e in liked) for w in WINDOWS.values()]
        assert windows[item].tolist() == naive
        assert window_counts(kept.buckets[item].tolist(), int(kept.newest[item]), now) == naive


@MANY
@given(streams(), st.permutations(range(40)))
def test_counts_and_windows_are_bit_equal_in_any_order(events: list[Event], order: list[int]) -> None:
    kept, shuffled = Popularity(), Popularity()
    kept.add(events)
    shuffled.add([events[n] for n in order if n < len(events)])
    for name in ("counts", "newest", "buckets"):
        assert np.array_equal(getattr(kept, name), getattr(shuffled, name))


def decayed_sums(gains: list[tuple[int, int, float, int]], half_life: float) -> dict[int, dict[int, float]]:
    """(row, other, weight, time) to the sum of weight * 2^(-(newest of the row - time) / half-life)."""
    newest: dict[int, int] = defaultdict(int)
    for row, _, _, at in gains:
        newest[row] = max(newest[row], at)
    sums: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for row, other, weight, at in gains:
        if weight > 0:
            sums[row][other] += weight * 2.0 ** (-(newest[row] - at) / half_life)
    return sums


@MANY
@given(streams(ANY_TIMES), st.lists(st.lists(st.integers(0, 5), max_size=3, unique=True), min_size=ITEMS, max_size=ITEMS))
def test_affinities_are_decayed_sums_of_what_the_user_took(events: list[Event], categories_of: list[list[int]]) -> None:
    named = [categories_of[e.item] for e in events]
    starts = np.cumsum([0, *map(len, named)])
    categories, weights = np.full((USERS, 6), -1, np.int32), np.zeros((USERS, 6), np.float32)
    update_affinities(
        column(events, "user"), column(events, "type"), column(events, "at"), starts, np.array(list(chain(*named)), np.int64),
        WEIGHTS, 5.0 * DAY_MS, categories, weights, np.zeros(USERS, np.int64),
    )  # fmt: skip
    # An event without categories moves the user's time too.
    gains = [(e.user, c, WEIGHTS[e.type], e.at) for e, names in zip(events, named, strict=True) for c in [*names, -9]]
    expected = decayed_sums(gains, 5.0 * DAY_MS)
    for user in range(USERS):
        used = categories[user] >= 0
        assert used.tolist() == sorted(used.tolist(), reverse=True)
        found = dict(zip(categories[user][used].tolist(), weights[user][used].tolist(), strict=True))
        wanted = {c: w for c, w in expected[user].items() if c >= 0}
        assert {c: w for c, w in found.items() if w > 1e-30} == pytest.approx(
            {c: w for c, w in wanted.items() if w > 1e-30}, rel=1e-4
        )


def neighbours_after(gains: list[tuple[int, int, float, int]], places: int) -> list[dict[int, float]]:
    lists, weights = np.full((ITEMS, places), -1, np.int32), np.zeros((ITEMS, places), np.float32)
    rows, others, gained, times = (np.array(c) for c in zip(*gains, strict=True)) if gains else (np.zeros(0, np.int64),) * 4
    update_neighbours(
        rows, others, gained.astype(np.float64), times, NEIGHBOUR_HALF_LIFE, lists, weights, np.zeros(ITEMS, np.int64)
    )
    return [
        {o: w for o, w in zip(row, weight, strict=True) if o >= 0}
        for row, weight in zip(lists.tolist(), weights.tolist(), strict=True)
    ]


PAIRS = st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 9), st.floats(0.01, 4), TIMES), max_size=60)


@MANY
@given(PAIRS)
def test_neighbours_are_decayed_sums_of_pairs(gains: list[tuple[int, int, float, int]]) -> None:
    found = neighbours_after(gains, places=10)
    expected = decayed_sums(gains, NEIGHBOUR_HALF_LIFE)
    for row in range(ITEMS):
        assert found[row] == pytest.approx(dict(expected[row]), rel=1e-4)


@MANY
@given(PAIRS)
def test_a_full_list_gives_up_its_weakest_for_a_stronger_pair(gains: list[tuple[int, int, float, int]]) -> None:
    gains = [(0, other, weight, START) for _, other, weight, _ in gains]  # of one moment: nothing decays
    kept: dict[int, np.float32] = {}
    for _, other, weight, _ in gains:
        weakest = min(kept, key=lambda o: kept[o], default=None)
        if other not in kept and len(kept) == 3 and weakest is not None:
            if float(kept[weakest]) >= weight:
                continue
            del kept[weakest]
        kept[other] = np.float32(kept.get(other, np.float32(0)) + np.float32(weight))
    assert sorted(neighbours_after(gains, places=3)[0].values()) == pytest.approx(sorted(kept.values()), rel=1e-6)


@MANY
@given(st.lists(streams(TIMES, 25), max_size=6), st.integers(1, 4))
def test_leaders_kept_step_by_step_are_the_leaders_of_all(batches: list[list[Event]], keep: int) -> None:
    kept, leaders = Popularity(), np.zeros(0, np.int64)
    for batch in batches:
        kept.add(batch)
        candidates = np.union1d(leaders, column(batch, "item"))
        now = int(kept.newest.max())
        scores = kept.at(now)[0]
        leaders = candidates[strongest(scores[candidates], keep)]
        for half in range(len(HALVES)):  # compare scores: which of two equal items leads is open
            best_of_all = np.sort(scores[:, half])[::-1][:keep]
            best_kept = np.sort(np.append(scores[leaders, half], np.zeros(keep)))[::-1][:keep]
            assert best_kept.tolist() == pytest.approx(best_of_all.tolist(), rel=1e-9)


def test_strongest_takes_the_best_of_every_column() -> None:
    scores = np.random.default_rng(1).random((50, 4))
    best = {int(row) for c in range(4) for row in np.argsort(scores[:, c])[-7:]}
    assert strongest(scores, 7).tolist() == sorted(best)


@MANY
@given(st.permutations([EARLIEST_MS, EARLIEST_MS, START, IN_2100, IN_2100, START + 1]))
def test_1990_next_to_2100_gives_finite_numbers(times: list[int]) -> None:
    events = [Event(0, n % 2, 1, at) for n, at in enumerate(times)]
    kept, histories = Popularity(), Histories()
    kept.add(events)
    pairs = histories.add(events)
    decayed, windows = kept.at(IN_2100)
    found = neighbours_after([(events[e].item, other, weight, events[e].at) for e, other, weight in pairs], 3)
    numbers = [*decayed.ravel(), *kept.decayed.ravel(), *windows.ravel(), *(w for row in found for w in row.values())]
    assert all(np.isfinite(n) and n >= 0 for n in numbers)


@pytest.mark.parametrize("same_time", [True, False])
def test_a_user_of_100_000_events_is_applied_in_bounded_time_and_memory(same_time: bool) -> None:
    events = [Event(0, n % ITEMS, n % 8, START + (0 if same_time else n * HOUR_MS)) for n in range(100_000)]
    histories, popularity = Histories(size=1000), Popularity()
    histories.add([]), popularity.add([])  # compiled before the clock starts
    started = time.perf_counter()
    pairs = histories.add(events, depth=10)
    popularity.add(events)
    assert time.perf_counter() - started < 10
    assert len(pairs) <= 10 * len(events)
    assert (histories.lengths[0], histories.counts.sum(), popularity.counts.sum()) == (1000, 100_000, 100_000)
