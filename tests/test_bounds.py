"""Bounds on memory and work: room, how far back kernels look, what a described item costs, and codes of what was forgotten."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.errors import InvalidSettings
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.capacity import next_capacity
from stream_workers.models.online.descriptions import Descriptions
from stream_workers.models.online.dice import draw_negatives
from stream_workers.models.online.event_log import append, history_before, mark_taken, new_log
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.session_knn import new_knn_scratch, score_session_knn
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.title_words import word_hashes
from tests.online_models import NONE, SMALL, START, clicks, learn, mixed


def log_of(events: list[tuple[int, int, float]]) -> Any:
    log = new_log(1 << max(3, len(events).bit_length()), 4, 4000)
    for number, (user, item, weight) in enumerate(events):
        append(log, user, item, float(number), weight, 0.0)
    return log


def buffers(size: int) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float32]]:
    return np.zeros(size, np.int32), np.zeros(size), np.zeros(size, np.float32)


def test_forgotten_items_in_a_history_are_passed_over() -> None:
    log = log_of([(0, 1, 1.0), (0, 2, 1.0), (0, 3, -1.0), (0, 1, 1.0)])
    log.item[1] = -1
    items, times, weights = buffers(5)
    found = history_before(log, log.user_last[0], items, times, weights)
    assert (items[:found].tolist(), weights[:found].tolist()) == ([1, 3], [1.0, -1.0])
    marks, taken = np.zeros(4000, np.int64), np.zeros(4000, np.int32)
    assert mark_taken(log, 0, 100, False, 1, marks, taken) == 2
    assert np.flatnonzero(marks).tolist() == [1, 3]


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_only_so_many_events_are_looked_at(weight: float) -> None:
    """A long history of one item (or of what was taken back) ends the search before what lies behind it."""
    depth, length = 5, 3000
    near = log_of([(0, 7, 1.0)] + [(0, 8, weight)] * (4 * depth - 1))
    far = log_of([(0, 7, 1.0)] + [(0, 8, weight)] * length)
    items, times, weights = buffers(depth)
    assert 7 in items[: history_before(near, near.user_last[0], items, times, weights)]
    assert 7 not in items[: history_before(far, far.user_last[0], items, times, weights)]
    many = log_of([(0, n, 1.0) for n in range(length)])
    marks, taken = np.zeros(4000, np.int64), np.zeros(4000, np.int32)
    assert mark_taken(many, 0, 100, False, 1, marks, taken) == 100


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_described_items_cost_little_and_rank_nothing(count: int) -> None:
    """Beside their ids: at most 150 bytes each, whatever is said of them; and arrays as if there were none."""
    ids = [f"tt{n:07d}" for n in range(count)]
    tracemalloc.start()
    known = Descriptions()
    for n, one in enumerate(ids):
        known.put(one, [n % 512, n * 7 % 511], f"Film {n} ({1900 + n % 120})")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 150 * count
    bank, plain = ModelBank(SMALL), ModelBank(SMALL)
    bank._described = known
    outcome, expected = learn(bank, mixed(100)), learn(plain, mixed(100))
    assert outcome.items_seen.tolist() == expected.items_seen.tolist()
    assert {name: array.shape for name, array in bank.state().items()} == {name: a.shape for name, a in plain.state().items()}
    film = word_hashes("Film")
    assert known.get(ids[513]) == (1, 14, *[-1] * 6, *film, *[-1] * 7, 1933.0)
    assert known.get("unheard of") is None


def test_an_item_that_is_only_described_gets_no_code() -> None:
    bank = ModelBank(SMALL)
    for n in range(5000):
        bank.describe(f"i{n}", ["Drama"], f"Film {n} (1999)")
    assert len(bank.items) == 0
    assert len(bank.state()["log.item_last"]) == 40
    assert bank.recommend(NONE, START, 5).items == []


@pytest.mark.parametrize("wrong", [{"max_events": 1000}, {"max_events": 0}, {"max_items": 1}, {"max_users": 0}])
def test_bounds_must_be_bounds(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(wrong))):
        ModelBank(BankSettings(**wrong))


def test_neighbours_do_not_vote_for_what_was_forgotten() -> None:
    log = log_of([(1, 5, 1.0), (1, 6, 1.0), (1, 7, 1.0), (1, 8, 1.0), (0, 6, 1.0)])
    log.item[[0, 3]] = -1
    scores = np.zeros(20, np.float32)
    scratch = new_knn_scratch(4, 5, 50, 5)
    score_session_knn(
        log, scratch, 0, np.array([6], np.int32), np.ones(1, np.float32), 9.0, 5, 50, 10, 5, 0.8, 1e9, 8.0, 0.7, scores
    )
    assert np.flatnonzero(scores).tolist() == [7]


def test_what_was_forgotten_is_no_negative() -> None:
    log = log_of([(0, n % 3, 1.0) for n in range(30)])
    log.item[:30][log.item[:30] == 1] = -1
    out = np.zeros(400, np.int32)
    drawn = draw_negatives(log, 30, 3, 2, 1000, 1.0, np.array([15], np.uint64), out)
    assert 0 < drawn < 200
    assert set(out[:drawn].tolist()) == {0}


def test_room_doubles_up_to_the_bound() -> None:
    sizes = [next_capacity(1024, needed, 3000) for needed in (5, 1024, 1025, 2049, 3000, 9000)]
    assert sizes == [1024, 1024, 2048, 3000, 3000, 3000]
    assert next_capacity(4096, 5, 3000) == 4096, "what was loaded is not cut"
    bank = ModelBank(SMALL._replace(max_items=1500, max_users=1300))
    learn(bank, clicks([f"u{n}" for n in range(1400)], [f"i{n}" for n in range(1400)]))
    state = bank.state()
    assert (len(state["log.item_last"]), len(state["log.user_last"]), len(state["log.item"])) == (1500, 1300, 256)
    assert len(bank.users) == 1140


def test_forgetting_a_table_of_ids() -> None:
    table = IdTable(["é", "bb", "ccc"])
    table.forget(1)
    assert (table.code("bb"), table.code("ccc"), table.ids) == (-1, 2, ["é", "", "ccc"])
    again = IdTable.loaded(table.state("x"), "x")
    assert again.ids == table.ids
    assert again.codes(["bb", "é", "ccc"]).tolist() == [3, 0, 2]
    kept = again.kept([1, 2, 3])
    assert (kept.ids, kept.code("ccc"), kept.code("bb"), kept.code("é")) == (["", "ccc", "bb"], 1, 2, -1)
