"""Bootstrap intervals: what they cover, that blocks matter, that a seed decides everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.intervals import _circular_means, paired_difference, time_blocked, user_blocked


def _sittings(rng: np.random.Generator, sittings: int, length: int) -> np.ndarray:
    """Values that are alike within a sitting."""
    return np.repeat(rng.normal(size=sittings), length)


def test_a_seed_decides_the_interval() -> None:
    values = np.random.default_rng(1).random((300, 2))
    one, again, other = (time_blocked(values, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one.low.tolist() == again.low.tolist()
    assert one.low.tolist() != other.low.tolist()
    assert one.mean == pytest.approx(values.mean(axis=0))


def test_each_column_is_judged_as_if_alone() -> None:
    values = np.random.default_rng(1).random((300, 3))
    together = time_blocked(values, np.random.default_rng(5))
    alone = time_blocked(values[:, 1], np.random.default_rng(5))
    assert (together.low[1], together.high[1]) == (alone.low[0], alone.high[0])


def test_the_interval_has_the_width_that_theory_gives_to_independent_values() -> None:
    values = np.random.default_rng(2).normal(size=4000)
    interval = time_blocked(values, np.random.default_rng(3), block=1, resamples=2000)
    assert interval.high[0] - interval.low[0] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(4000), rel=0.06)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of sittings of 10 alike values; intervals that ignore them would cover far less."""
    rng, blocked, single = np.random.default_rng(4), 0, 0
    for _ in range(200):
        values = _sittings(rng, 60, 10)
        wide, narrow = time_blocked(values, rng, block=40, resamples=300), time_blocked(values, rng, block=1, resamples=300)
        blocked += bool(wide.low[0] <= 0 <= wide.high[0])
        single += bool(narrow.low[0] <= 0 <= narrow.high[0])
    assert blocked >= 170
    assert single <= 140


def test_users_are_drawn_whole() -> None:
    rng = np.random.default_rng(7)
    values, users = _sittings(rng, 40, 25), np.repeat(np.arange(40), 25)
    order = rng.permutation(len(values))
    by_user = user_blocked(values[order], users[order], np.random.default_rng(1))
    by_value = time_blocked(values[order], np.random.default_rng(1), block=1)
    spread = values[::25].std() / np.sqrt(40)
    assert by_user.high[0] - by_user.low[0] == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert by_value.high[0] - by_value.low[0] < 0.4 * (by_user.high[0] - by_user.low[0])


def test_users_with_many_values_weigh_more() -> None:
    interval = user_blocked([1.0, 1, 1, 0], ["a", "a", "a", "b"], np.random.default_rng(1))
    assert interval.mean[0] == pytest.approx(0.75)
    assert (interval.low[0], interval.high[0]) == (0.0, 1.0)


def test_a_paired_difference_sees_what_two_intervals_do_not() -> None:
    rng = np.random.default_rng(8)
    first = (rng.random(2000) < 0.3).astype(float)
    second = np.where(rng.random(2000) < 0.03, 0.0, first)
    apart = [time_blocked(one, np.random.default_rng(1)) for one in (first, second)]
    assert apart[1].high[0] > apart[0].low[0]
    for users in (None, rng.integers(500, size=2000)):
        paired = paired_difference(first, second, np.random.default_rng(1), users)
        assert paired.low[0] > 0
        assert paired.mean[0] == pytest.approx(first.mean() - second.mean())


def test_a_resample_is_made_of_stretches_that_go_on_at_the_beginning() -> None:
    columns = np.arange(5.0)[:, None]
    means = np.concatenate(list(_circular_means(columns, np.random.default_rng(1), block=3, resamples=500)))
    stretches = [sum((start + step) % 5 for step in range(3)) for start in range(5)]
    rests = [sum((start + step) % 5 for step in range(2)) for start in range(5)]
    possible = {(a + b) / 5 for a in stretches for b in rests}
    assert set(means[:, 0].tolist()) == possible


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        ([], {}, "N >= 1"),
        ([1.0, np.nan], {}, r"values\[1, 0\]=nan"),
        ([1.0, 2.0], {"block": 3}, "block=3: expected 1 to 2"),
        ([1.0, 2.0], {"block": 0}, "block=0"),
        ([1.0, 2.0], {"level": 1.0}, r"level=1\.0"),
        ([1.0, 2.0], {"resamples": 0}, "resamples=0"),
    ],
)
def test_what_cannot_be_judged_is_named(values: list[float], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        time_blocked(values, np.random.default_rng(1), **options)


def test_different_questions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different questions"):
        paired_difference([1.0, 0.0], [1.0], np.random.default_rng(1))
    with pytest.raises(ValueError, match="1 users for 2 values"):
        user_blocked([1.0, 0.0], ["a"], np.random.default_rng(1))
