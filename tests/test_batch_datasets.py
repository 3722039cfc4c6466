"""Splits, sequences, negatives and streamed files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.datasets.interactions import InteractionLog, bare_catalogue, enough_to_learn, joined
from batch.datasets.negatives import Sampler, non_clicks, uniform
from batch.datasets.sequences import histories, windows
from batch.datasets.splits import future_times, leave_future_out, leave_one_out, split
from batch.datasets.streaming import record_batches, shuffled, stream
from schemas.errors import InvalidInput
from tests.tiny_log import tiny_log

LOG = tiny_log()


def written(users: list[int], items: list[int], times: list[int], user_count: int = 3) -> InteractionLog:
    names = tuple(f"u{n}" for n in range(user_count))
    catalogue = bare_catalogue([f"i{n}" for n in range(10)], np.zeros(10, np.int64))
    columns = (np.array(column, np.int64) for column in (users, items, times))
    return InteractionLog(*columns, np.full(len(users), np.nan, np.float32), names, catalogue)


BY_HAND = written([0, 1, 0, 0, 1, 0], [5, 6, 7, 8, 9, 1], [10, 20, 30, 30, 50, 60])


def test_nothing_of_the_future_is_learnt() -> None:
    first, second = future_times(LOG, 0.2, 0.1)
    parts = leave_future_out(LOG, first, second)
    assert parts.train.timestamps[-1] < first <= parts.validation.timestamps[0]
    assert parts.validation.timestamps[-1] < second <= parts.test.timestamps[0]
    assert parts.train.size + parts.validation.size + parts.test.size == LOG.size
    assert 0.05 < parts.test.size / LOG.size < 0.15


def test_events_of_one_moment_stay_together() -> None:
    parts = leave_future_out(BY_HAND, 30, 50)
    assert [part.timestamps.tolist() for part in parts] == [[10, 20], [30, 30], [50, 60]]


def test_leave_one_out_takes_the_last_two_of_each_user() -> None:
    parts = leave_one_out(BY_HAND)
    assert (parts.train.items.tolist(), parts.validation.items.tolist(), parts.test.items.tolist()) == ([5, 6, 7, 9], [8], [1])


def test_leave_one_out_by_a_loop() -> None:
    parts = leave_one_out(LOG)
    for user in range(len(LOG.user_ids)):
        own = LOG.items[LOG.users == user].tolist()
        assert parts.train.items[parts.train.users == user].tolist() == own[:-2]
        assert parts.validation.items[parts.validation.users == user].tolist() == own[-2:-1]
        assert parts.test.items[parts.test.users == user].tolist() == own[-1:]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: split(LOG, "random"), "expected future or leave-one-out"),
        (lambda: leave_future_out(BY_HAND, 50, 30), "the test comes last"),
        (lambda: leave_future_out(BY_HAND, 0, 30), "train 0, validation 2, test 4"),
        (lambda: leave_one_out(BY_HAND.part(0, 2)), "cannot be cut"),
        (lambda: future_times(LOG, 0.6, 0.5), "sum below 1"),
        (lambda: split(LOG.part(0, 0), "future"), "empty log"),
        (lambda: enough_to_learn(LOG.part(0, 0)), "empty"),
        (lambda: enough_to_learn(BY_HAND.part(0, 1)), "at least two items"),
        (lambda: joined(BY_HAND, LOG), "different users or items"),
        (lambda: windows(BY_HAND, 0), "length=0"),
        (lambda: windows(BY_HAND, 3, 0), "stride=0"),
        (lambda: histories(BY_HAND, np.array([0]), 0), "longest=0"),
        (lambda: Sampler(np.zeros(4, np.int64), 1.0), "none of 4 items"),
    ],
)
def test_what_cannot_be_cut_is_refused(make: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        make()


def test_joined_parts_are_the_log() -> None:
    parts = leave_one_out(LOG)
    whole = joined(joined(parts.train, parts.validation), parts.test)
    np.testing.assert_array_equal(whole.timestamps, LOG.timestamps)
    for user in range(len(LOG.user_ids)):
        np.testing.assert_array_equal(whole.items[whole.users == user], LOG.items[LOG.users == user])


def test_histories_are_padded_at_the_end() -> None:
    found = histories(BY_HAND, np.array([1, 2, 0]), 3)
    assert found.items.tolist() == [[6, 9, -1], [-1, -1, -1], [7, 8, 1]]
    assert found.gaps.tolist() == [[0, 30, 0], [0, 0, 0], [20, 0, 30]]
    assert found.lengths.tolist() == [2, 0, 3]
    assert histories(BY_HAND.part(0, 0), np.array([0]), 2).items.tolist() == [[-1, -1]]


def test_windows_by_hand() -> None:
    found = windows(BY_HAND, 2)
    rows = zip(found.inputs.users.tolist(), found.inputs.items.tolist(), found.targets.tolist(), strict=True)
    assert list(rows) == [(0, [7, 8], [8, 1]), (0, [5, -1], [7, -1]), (1, [6, -1], [9, -1])]
    assert found.inputs.gaps.tolist() == [[20, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 9])
def test_windows_without_overlap_have_every_transition_once(length: int) -> None:
    found = windows(LOG, length)
    there = found.targets >= 0
    owners = np.broadcast_to(found.inputs.users[:, None], there.shape)[there]
    pairs = Counter(zip(owners.tolist(), found.inputs.items[there].tolist(), found.targets[there].tolist(), strict=True))
    wanted: Counter[tuple[int, int, int]] = Counter()
    for user in range(len(LOG.user_ids)):
        own = LOG.items[LOG.users == user].tolist()
        wanted.update(zip([user] * len(own), own, own[1:], strict=False))
    assert pairs == wanted


def test_overlapping_windows_end_at_the_newest() -> None:
    log = written([0] * 7, list(range(7)), list(range(7)))
    assert windows(log, 4, 1).targets.tolist() == [[3, 4, 5, 6], [2, 3, 4, 5], [1, 2, 3, 4]]


def test_negatives_follow_their_counts_and_tell_their_expectation() -> None:
    drawn = Sampler(np.array([0, 1, 3, 0, 4]), 1.0).draw(np.random.default_rng(1), 80_000)
    shares = np.bincount(drawn.items, minlength=5) / 80_000
    assert shares == pytest.approx([0, 1 / 8, 3 / 8, 0, 4 / 8], abs=0.01)
    for item, expected in ((1, 10_000), (2, 30_000), (4, 40_000)):
        assert np.exp(drawn.log_counts[drawn.items == item]) == pytest.approx(expected, rel=1e-5)
    again = Sampler(np.array([0, 1, 3, 0, 4]), 1.0).draw(np.random.default_rng(1), 80_000)
    np.testing.assert_array_equal(drawn.items, again.items)


def test_uniform_negatives() -> None:
    drawn = uniform(4).draw(np.random.default_rng(1), 40_000)
    assert np.bincount(drawn.items) / 40_000 == pytest.approx([0.25] * 4, abs=0.01)
    assert drawn.log_counts == pytest.approx(np.log(10_000))


def test_non_clicks_are_of_the_same_list_and_not_clicked() -> None:
    shown = np.array([[1, 2, 3, -1], [4, 5, 6, 7], [8, 9, -1, -1]])
    clicked = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]], bool)
    clicks, passed = non_clicks(shown, clicked, 50, np.random.default_rng(2))
    assert clicks.tolist() == [1, 5, 6]
    assert [set(row) for row in passed.tolist()] == [{2, 3}, {4, 7}, {4, 7}]
    with pytest.raises(InvalidInput, match="list 2: a click"):
        non_clicks(shown, clicked | (shown == -1) & (shown[:, :1] == 8), 1, np.random.default_rng(2))


ROWS = 1000


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.parquet" for n in range(2)]
    for n, path in enumerate(paths):
        numbers = np.arange(n * ROWS // 2, (n + 1) * ROWS // 2)
        table = pa.table({"number": numbers, "half": numbers.astype(np.float32) / 2, "name": [f"n{v}" for v in numbers]})
        pq.write_table(table, path, row_group_size=100)
    return paths


def test_streamed_rows_are_all_there_once_in_another_order(files: list[Path]) -> None:
    rng = np.random.default_rng(3)
    found = list(shuffled(record_batches(files, ["number", "half"], rng, rows=64), 32, 256, rng))
    numbers = np.concatenate([batch["number"] for batch in found])
    assert sorted(numbers.tolist()) == list(range(ROWS))
    assert all(len(batch["number"]) == 32 for batch in found[:-1])
    np.testing.assert_array_equal(np.concatenate([batch["half"] for batch in found]), numbers.astype(np.float32) / 2)
    assert abs(np.corrcoef(numbers, np.arange(ROWS))[0, 1]) < 0.5
    assert np.mean(np.abs(np.diff(numbers))) > 20


def test_no_more_than_the_buffer_waits(files: list[Path]) -> None:
    rng, read, given = np.random.default_rng(3), [0], 0

    def counted() -> Any:
        for batch in record_batches(files, ["number"], rng, rows=50):
            read[0] += batch.num_rows
            yield batch

    for batch in shuffled(counted(), 10, 200, rng):
        assert read[0] - given <= 250
        given += len(batch["number"])
    assert given == ROWS


def test_tf_data_gives_the_same_passes_for_the_same_seed(files: list[Path]) -> None:
    def numbers(seed: int) -> list[list[int]]:
        rows = stream(files, ["number", "name"], size=64, buffer=256, seed=seed)
        passes = []
        for _ in range(2):
            batches = list(rows.as_numpy_iterator())
            assert all(
                name == f"n{n}".encode() for batch in batches for n, name in zip(batch["number"], batch["name"], strict=True)
            )
            passes.append([int(n) for batch in batches for n in batch["number"]])
        return passes

    first, second = numbers(7)
    assert numbers(7) == [first, second]
    assert first != second
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert numbers(8)[0] != first


def test_files_that_cannot_be_streamed_are_named(files: list[Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(InvalidInput, match=r"0.parquet has no column what; it has number, half, name"):
        list(record_batches(files, ["number", "what"], rng))
    (tmp_path / "text").write_text("no parquet")
    with pytest.raises(InvalidInput, match="cannot be read as Parquet"):
        list(record_batches([tmp_path / "text"], ["number"], rng))
    pq.write_table(pa.table({"number": [1, None]}), tmp_path / "holes")
    with pytest.raises(InvalidInput, match="column number has 1 nulls"):
        list(shuffled(record_batches([tmp_path / "holes"], ["number"], rng), 1, 4, rng))
    with pytest.raises(InvalidInput, match="batches of 9 from a buffer of 4"):
        list(shuffled(iter(()), 9, 4, rng))
    with pytest.raises(InvalidInput, match="no Parquet files"):
        stream([], ["number"], size=1, buffer=2, seed=0)
