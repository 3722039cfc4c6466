"""Exploration: its propensities against brute force and against what really comes, and that a request's draw can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from math import exp, log

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.ranking.exploration import Drawn, dice, epsilon_greedy, gumbel_top_k, rank_weights, thompson
from serving.ranking.races import plackett_luce_inclusion

F64 = NDArray[np.float64]
DRAWS = 4000
SIGMAS = 4.5  # of about 100 comparisons, under fixed seeds
WEIGHTS = np.log([4.0, 2.0, 1.0, 0.5, 0.01])
SUCCESSES, TRIALS = np.array([0.0, 1.0, 3.0, 0.0, 2.0]), np.array([0.0, 4.0, 4.0, 6.0, 12.0])
POLICIES: dict[str, tuple[int, int, Callable[[np.random.Generator], Drawn]]] = {
    "epsilon 0.3": (8, 3, lambda rng: epsilon_greedy(8, 3, 0.3, rng)),
    "epsilon 1": (5, 2, lambda rng: epsilon_greedy(5, 2, 1.0, rng)),
    "softmax": (5, 3, lambda rng: gumbel_top_k(WEIGHTS, 3, rng)),
    "softmax over ranks": (12, 4, lambda rng: gumbel_top_k(rank_weights(12, 0.5), 4, rng)),
    "thompson": (5, 2, lambda rng: thompson(SUCCESSES, TRIALS, 2, rng)),
}


@pytest.mark.parametrize("name", POLICIES)
def test_propensities_are_how_often_an_item_comes(name: str) -> None:
    count, k, draw = POLICIES[name]
    rng = np.random.default_rng(20)
    firsts, shown = np.zeros(count), np.zeros(count)
    told_first, told_inclusion = np.full(count, np.nan), np.full(count, np.nan)
    for _ in range(DRAWS):
        drawn = draw(rng)
        firsts[drawn.order[0]] += 1
        shown[drawn.order] += 1
        told_first[drawn.order], told_inclusion[drawn.order] = drawn.first, drawn.inclusion
    assert np.isfinite(told_first).all()
    for came, told in ((firsts, told_first), (shown, told_inclusion)):
        spread = np.sqrt(DRAWS * told * (1 - told))
        assert (np.abs(came - DRAWS * told) <= SIGMAS * spread + 1).all(), (came / DRAWS, told)
    expected = DRAWS * told_first
    large = expected >= 5
    chi_square = float(((firsts - expected)[large] ** 2 / expected[large]).sum())
    assert chi_square < large.sum() + 5 * np.sqrt(2 * large.sum())
    assert told_first.sum() == pytest.approx(1.0, abs=1e-6)
    assert told_inclusion.sum() == pytest.approx(k, abs=1e-5)


def test_plackett_luce_inclusion_is_the_sum_over_all_lists() -> None:
    weights = np.exp(WEIGHTS)
    inclusion = np.zeros(5)
    for chosen in permutations(range(5), 3):
        probability, left = 1.0, float(weights.sum())
        for item in chosen:
            probability, left = probability * weights[item] / left, left - weights[item]
        inclusion[list(chosen)] += probability
    assert plackett_luce_inclusion(WEIGHTS, np.arange(5), 3) == pytest.approx(inclusion, abs=1e-7)


def test_plackett_luce_inclusion_bears_weights_of_very_different_sizes() -> None:
    log_weights = np.array([0.0, -50.0, -400.0, 300.0])
    assert plackett_luce_inclusion(log_weights, np.arange(4), 2) == pytest.approx([1.0, exp(-50), 0.0, 1.0], abs=1e-7)
    assert plackett_luce_inclusion(log_weights, np.arange(4), 4).tolist() == [1.0] * 4


def test_epsilon_greedy_inclusion_is_the_sum_over_all_lists() -> None:
    count, k, epsilon = 5, 3, 0.4
    inclusion = np.zeros(count)
    for chosen in permutations(range(count), k):
        probability, left = 1.0, list(range(count))
        for item in chosen:
            probability *= (1 - epsilon) * (item == left[0]) + epsilon / len(left)
            left.remove(item)
        inclusion[list(chosen)] += probability
    told = {}
    for seed in range(60):
        drawn = epsilon_greedy(count, k, epsilon, np.random.default_rng(seed))
        told |= dict(zip(drawn.order.tolist(), drawn.inclusion.tolist(), strict=True))
    assert [told[item] for item in range(count)] == pytest.approx(inclusion)


def test_thompson_by_hand() -> None:
    """Beta(2, 1) is larger than Beta(1, 1) with probability 2/3; three alike are each the largest with 1/3."""
    told = {}
    for seed in range(20):
        drawn = thompson(np.array([1.0, 0.0]), np.array([1.0, 0.0]), 1, np.random.default_rng(seed))
        told[int(drawn.order[0])] = float(drawn.first[0])
    assert told == pytest.approx({0: 2 / 3, 1: 1 / 3}, abs=1e-6)
    alike = thompson(np.zeros(3), np.full(3, 7.0), 2, np.random.default_rng(1))
    assert alike.first == pytest.approx([1 / 3] * 2, abs=1e-5)
    assert alike.inclusion == pytest.approx([2 / 3] * 2, abs=1e-5)


def test_without_any_chance_it_is_the_order() -> None:
    drawn = epsilon_greedy(6, 3, 0.0, dice("r"))
    assert drawn.order.tolist() == [0, 1, 2]
    assert drawn.inclusion.tolist() == [1.0] * 3
    assert drawn.first[0] == 1.0
    cold = gumbel_top_k(rank_weights(6, 0.001), 3, dice("r"))
    assert cold.order.tolist() == [0, 1, 2]
    assert cold.inclusion == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("draw", [
    lambda count, k, rng: epsilon_greedy(count, k, 0.7, rng),
    lambda count, k, rng: gumbel_top_k(rank_weights(count, 2.0), k, rng),
    lambda count, k, rng: thompson(np.zeros(count), np.ones(count), k, rng),
])  # fmt: skip
@pytest.mark.parametrize(("count", "k"), [(0, 3), (1, 1), (3, 9), (30, 10), (4, 0)])
def test_a_draw_has_no_item_twice_and_propensities_above_zero(
    draw: Callable[[int, int, np.random.Generator], Drawn], count: int, k: int
) -> None:
    drawn = draw(count, k, dice("01J"))
    again = draw(count, k, dice("01J"))
    assert drawn.order.tolist() == again.order.tolist()
    assert len(set(drawn.order.tolist())) == len(drawn.order) == min(k, count)
    for propensity in (drawn.first, drawn.inclusion):
        assert ((propensity > 0) & (propensity <= 1)).all()
    if 0 < count <= k:
        assert drawn.inclusion == pytest.approx([1.0] * count)


def test_another_request_is_another_draw() -> None:
    lists = {tuple(epsilon_greedy(30, 10, 1.0, dice(f"request {n}")).order.tolist()) for n in range(20)}
    assert len(lists) == 20


def test_ranks_are_explored_by_their_logarithm() -> None:
    assert rank_weights(3, 0.5).tolist() == pytest.approx([0.0, -2 * log(2), -2 * log(3)])
