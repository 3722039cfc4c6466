"""Reranking: cases worked out by hand, the papers' objectives by brute force, and that no item is lost or comes twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.ranking.adjustments import damped, mixed_in, novelty, serendipity
from serving.ranking.calibration import SMOOTHING, Calibration, mixes
from serving.ranking.content_vectors import LARGEST, content_vectors
from serving.ranking.diversity import OWN, Redundancy, Volume
from serving.ranking.exposure import Caps, Exposure, grouped
from serving.ranking.greedy import Term, greedy, scaled
from serving.ranking.relaxation import kept, tiers

F64 = NDArray[np.float64]
KINDS = [["x"], ["x"], ["y"], ["x", "y"], ["z"], []]
RELEVANCE = np.array([1.0, 0.9, 0.8, 0.7, 0.2, 0.1])


def test_mmr_by_hand() -> None:
    """After the first: x 0.45 - 0.5, y 0.4, xy 0.35 - 0.5 / sqrt 2 = -0.004, z 0.1, the last 0.05; y changes none."""
    assert greedy(RELEVANCE, [Redundancy(content_vectors(KINDS), 0.5)], 6).tolist() == [0, 2, 4, 5, 3, 1]


def test_mmr_of_full_diversity_looks_at_likeness_alone() -> None:
    assert greedy(RELEVANCE, [Redundancy(content_vectors(KINDS), 1.0)], 4).tolist() == [0, 2, 4, 5]


def test_the_determinant_by_hand() -> None:
    """After x: d^2 = 1 - 0.9^2 = 0.19 for x, 1 for y, 1 - (0.9 / sqrt 2)^2 = 0.595 for xy; 0.9 + log 0.19 and 0.7 + log 0.595 are
    below the 0.8 of y, and the 0.2 of z."""
    term = Volume(content_vectors(KINDS), 0.5)
    term.take(0)
    expected = [1 - (1 - OWN) ** 2, 1.0, 1 - (1 - OWN) ** 2 / 2, 1.0, 1.0]
    assert np.exp(term.gains())[1:] == pytest.approx(expected)
    assert greedy(RELEVANCE, [Volume(content_vectors(KINDS), 0.5)], 3).tolist() == [0, 2, 4]


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(deadline=None, max_examples=40)
def test_each_step_of_the_determinant_is_the_best_of_all_determinants(seed: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    count = 8
    vectors = content_vectors([rng.choice(list("abcde"), rng.integers(0, 4), replace=False).tolist() for _ in range(count)])
    relevance = np.sort(rng.random(count))[::-1]
    kernel = (1 - OWN) * vectors @ vectors.T
    np.fill_diagonal(kernel, 1.0)
    order = greedy(relevance, [Volume(vectors, weight)], 5).tolist()
    for at, item in enumerate(order):
        worth = {
            other: (1 - weight) * relevance[chosen].sum() + weight * np.linalg.slogdet(kernel[np.ix_(chosen, chosen)])[1]
            for other in set(range(count)) - set(order[:at])
            for chosen in [[*order[:at], other]]
        }
        assert worth[item] == pytest.approx(max(worth.values()), abs=1e-9)


def kl(p: F64, q: F64) -> float:
    smooth = (1 - SMOOTHING) * q + SMOOTHING * p
    return float(sum(a * log(a / b) for a, b in zip(p, smooth, strict=True) if a > 0))


def test_a_list_gets_the_mix_of_the_person() -> None:
    categories = [["drama"]] * 6 + [["war"]] * 4
    mix, shares = mixes({"drama": 0.7, "war": 0.3, "none": 0.0}, categories)
    relevance = np.linspace(1, 0.1, 10)
    assert (greedy(relevance, [Calibration(mix, shares, 1.0)], 10) >= 6).sum() == 4
    first_ten = greedy(relevance, [Calibration(mix, shares, 0.99)], 5).tolist()
    assert sum(item >= 6 for item in first_ten) in (1, 2)
    assert greedy(relevance, [Calibration(mix, shares, 0.0)], 5).tolist() == [0, 1, 2, 3, 4]


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(deadline=None, max_examples=40)
def test_each_step_of_calibration_has_the_least_divergence(seed: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    categories = [rng.choice(list("abc"), rng.integers(1, 3), replace=False).tolist() for _ in range(7)]
    mix, shares = mixes(dict(zip("abc", rng.dirichlet(np.ones(3)), strict=True)), categories)
    relevance = np.sort(rng.random(7))[::-1]
    order = greedy(relevance, [Calibration(mix, shares, weight)], 5).tolist()
    for at, item in enumerate(order):
        worth = {
            other: (1 - weight) * relevance[chosen].sum() - weight * kl(mix, shares[chosen].mean(axis=0))
            for other in set(range(7)) - set(order[:at])
            for chosen in [[*order[:at], other]]
        }
        assert worth[item] == pytest.approx(max(worth.values()), abs=1e-9)


def test_two_providers_take_turns_as_their_exposure_demands() -> None:
    """a 1; b lacks (1 + .63) / 2; then a lacks 1.065 - 1, b 1.065 - .63: b again; then a."""
    groups, targets = grouped(["a", "a", "b", "b"])
    assert greedy(np.array([1.0, 0.9, 0.2, 0.1]), [Exposure(groups, targets, 1.0)], 4).tolist() == [0, 2, 3, 1]


def test_exposure_comes_near_its_targets() -> None:
    names = ["big"] * 40 + ["small"] * 20
    groups, targets = grouped(names, {"big": 3.0, "small": 1.0})
    assert targets.tolist() == [0.75, 0.25]
    order = greedy(np.linspace(1, 0, 60), [Exposure(groups, targets, 1.0)], 20)
    worth = [1 / log2(1 + place) for place in range(1, 21)]
    given_to_small = sum(v for v, item in zip(worth, order, strict=True) if names[item] == "small") / sum(worth)
    assert given_to_small == pytest.approx(0.25, abs=0.03)


def test_items_of_no_group_and_groups_without_a_target_are_not_favoured() -> None:
    groups, targets = grouped([None, "", "a", "b"], {"a": 1.0})
    assert targets[groups[2]] == 1.0
    assert targets[groups[3]] == 0.0
    assert greedy(np.array([1.0, 0.9, 0.2, 0.1]), [Exposure(groups, targets, 1.0)], 4).tolist()[0] == 2


def test_caps_hold_back_and_give_way_when_nothing_else_is_left() -> None:
    caps = Caps([["x"], ["x", "y"], ["x"], ["y"], []], {"x": 1})
    assert greedy(np.linspace(1, 0, 5), [], 5, caps).tolist() == [0, 3, 4, 1, 2]
    everywhere = Caps([["x"], ["x"], ["y"], ["y"]], {"y": 2}, others=1)
    assert greedy(np.linspace(1, 0, 4), [], 3, everywhere).tolist() == [0, 2, 3]
    assert greedy(np.linspace(1, 0, 4), [], 4, Caps([["x"]] * 4, {"x": 0})).tolist() == [0, 1, 2, 3]


def test_damping_and_novelty_and_serendipity_by_hand() -> None:
    relevance, popularity = np.array([1.0, 0.5, 0.4]), np.array([1.0, 0.25, 0.04])
    assert damped(relevance, popularity, 0.5).tolist() == pytest.approx([0.0, 0.0, 1.0])  # 1 / 1, 0.5 / 0.5, 0.4 / 0.2
    assert damped(relevance, popularity, 0.0) is relevance
    assert novelty(np.array([1.0, 0.1, 0.001])).tolist() == [0.0, 0.5, 1.0]
    vectors = content_vectors([["x"], ["y"], ["x", "y"]])
    assert serendipity(relevance, vectors, vectors[:1]).tolist() == pytest.approx([0.0, 0.5, 0.4 * (1 - 0.5**0.5)])
    assert serendipity(relevance, vectors, vectors[:0]).tolist() == relevance.tolist()
    assert mixed_in(relevance, popularity, 0.0) is relevance
    assert mixed_in(relevance, popularity, 0.25).tolist() == pytest.approx([1.0, 0.4375, 0.31])


def test_vectors_have_the_cosines_of_the_sets() -> None:
    vectors = content_vectors([["a", "b", "only"], ["b", "a"], ["b"], [], ["b", "b"]])
    cosines = vectors @ vectors.T
    assert cosines[0, 1] == pytest.approx(2 / 6**0.5)
    assert cosines[1, 2] == pytest.approx(1 / 2**0.5)
    assert cosines[2, 4] == pytest.approx(1.0)
    assert not cosines[3].any()
    many = [[f"t{n}" for n in range(2 * LARGEST)]] * 2
    assert content_vectors(many).shape == (2, LARGEST)


def test_constraints_are_dropped_from_the_least_important_and_only_as_far_as_needed() -> None:
    cheap, comedy, new = [True, True, True, False], [True, True, False, True], [True, False, True, True]
    levels = tiers([cheap, comedy, new])
    assert levels.tolist() == [3, 2, 1, 0]
    assert [kept(levels, 3, k) for k in (1, 2, 3, 4, 9)] == [3, 2, 1, 0, 0]
    assert kept(tiers([[True, True]]), 1, 10) == 1  # there is no more than what meets it: nothing is won by dropping it


# --- properties of all of them

Reranker = Callable[[F64, Sequence[Sequence[str]], float], Sequence[Term]]
TERMS: dict[str, Reranker] = {
    "mmr": lambda relevance, kinds, weight: [Redundancy(content_vectors(kinds), weight)],
    "dpp": lambda relevance, kinds, weight: [Volume(content_vectors(kinds), weight)],
    "calibration": lambda relevance, kinds, weight: [Calibration(*mixes({"a": 2, "b": 1}, kinds), weight)],
    "exposure": lambda relevance, kinds, weight: [Exposure(*grouped([next(iter(own), None) for own in kinds]), weight)],
}
TERMS["all"] = lambda relevance, kinds, weight: [
    term for name in TERMS if name != "all" for term in TERMS[name](relevance, kinds, weight)
]
POOLS = st.lists(st.lists(st.sampled_from("abcd"), max_size=3, unique=True), max_size=25)


@pytest.mark.parametrize("name", TERMS)
@given(pool=POOLS, weight=st.floats(0, 1), k=st.integers(0, 30), capped=st.booleans(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_a_list_is_a_permutation_of_the_pool_and_k_is_its_beginning(
    name: str, pool: list[list[str]], weight: float, k: int, capped: bool, seed: int
) -> None:
    relevance = scaled(np.sort(np.random.default_rng(seed).random(len(pool)))[::-1])

    def order(count: int) -> list[int]:
        bar = Caps(pool, {}, others=1) if capped else None
        return greedy(relevance, TERMS[name](relevance, pool, weight), count, bar).tolist()

    assert sorted(order(len(pool))) == list(range(len(pool)))
    assert order(k) == order(len(pool))[:k]


@pytest.mark.parametrize("name", TERMS)
@given(pool=POOLS, scores=st.lists(st.floats(-5, 5), min_size=25, max_size=25))
@settings(deadline=None, max_examples=30)
def test_weight_zero_leaves_the_order_exactly(name: str, pool: list[list[str]], scores: list[float]) -> None:
    relevance = np.array(scores[: len(pool)])  # not even sorted
    assert greedy(relevance, TERMS[name](relevance, pool, 0.0), 10).tolist() == list(range(min(10, len(pool))))


@pytest.mark.parametrize("method", [Redundancy, Volume])
def test_more_diversity_gives_lists_that_are_less_alike(method: type[Redundancy | Volume]) -> None:
    rng = np.random.default_rng(5)
    vectors = content_vectors([rng.choice(list("abcdefgh"), 3, replace=False).tolist() for _ in range(100)])
    relevance = np.linspace(1, 0, 100)
    alike = []
    for diversity in (0.0, 0.3, 0.6, 1.0):
        chosen = vectors[greedy(relevance, [method(vectors, diversity)], 10)]
        alike.append(float((np.triu(chosen @ chosen.T, 1)).sum()))
    assert alike[0] > alike[1] > alike[3]
    assert alike[2] == pytest.approx(alike[3], rel=0.1)
