"""The metrics: cases worked out by hand, what is refused, and agreement with trec_eval."""

from __future__ import annotations

from collections.abc import Callable
from math import log, log2
from typing import Any

import numpy as np
import pytest
import pytrec_eval

from evaluation.metrics import calibration, diversity, exposure, novelty, popularity, ranking, single_target

LISTS = [[3, 1, 2, 9], [4, 5, 6, -1], [7, -1, -1, -1]]
RELEVANT = [[1, 9, 20], [4], []]
RANKING: list[tuple[Callable[..., Any], list[float]]] = [
    (ranking.hit_rate, [1, 1, 0]),
    (ranking.recall, [1 / 3, 1, 0]),
    (ranking.precision, [1 / 3, 1 / 3, 0]),
    (ranking.reciprocal_rank, [1 / 2, 1, 0]),
    (ranking.average_precision, [1 / 2 / 3, 1, 0]),
    (ranking.ndcg, [(1 / log2(3)) / (1 + 1 / log2(3) + 1 / log2(4)), 1, 0]),
]


@pytest.mark.parametrize(("metric", "by_hand"), RANKING)
def test_ranked_lists_by_hand(metric: Callable[..., Any], by_hand: list[float]) -> None:
    assert metric(LISTS, RELEVANT, 3) == pytest.approx(by_hand)


@pytest.mark.parametrize(("metric", "by_hand"), RANKING)
def test_ranked_lists_take_padded_arrays_as_sets(metric: Callable[..., Any], by_hand: list[float]) -> None:
    padded = np.array([[1, 9, 20], [4, -1, -1], [-1, -1, -1]])
    assert metric(np.array(LISTS), padded, 3) == pytest.approx(by_hand)


def test_a_cut_off_beyond_the_list_finds_no_more_but_costs_precision() -> None:
    assert ranking.recall([[3, 1]], [[1, 8]], 10) == pytest.approx([0.5])
    assert ranking.precision([[3, 1]], [[1, 8]], 10) == pytest.approx([0.1])
    assert ranking.ndcg([[3, 1]], [[1, 8]], 10) == pytest.approx([(1 / log2(3)) / (1 + 1 / log2(3))])


def test_a_relevant_item_that_is_named_twice_counts_once() -> None:
    assert ranking.recall([[3, 1]], [[1, 1, 8]], 2) == pytest.approx([0.5])


@pytest.mark.parametrize("metric", [metric for metric, _ in RANKING])
@pytest.mark.parametrize("lists", [np.zeros((0, 5), int), np.zeros((2, 0), int), [[-1, -1], [-1, -1]]])
def test_without_lists_or_items_there_is_nothing_to_find(metric: Callable[..., Any], lists: Any) -> None:
    count = len(lists)
    assert metric(lists, [[1, 2]] * count, 3).tolist() == [0.0] * count


@pytest.mark.parametrize("metric", [metric for metric, _ in RANKING])
@pytest.mark.parametrize(
    ("lists", "relevant", "k", "said"),
    [
        ([[1.0, np.nan]], [[1]], 2, r"lists\[0, 1\] is NaN"),
        ([[1, 2]], [[1.0, np.nan]], 2, r"relevant\[0\]\[1\] is NaN"),
        ([[0.5, 1.5]], [[1]], 2, "expected item codes"),
        ([[1, 2], [5, 5]], [[1], [1]], 2, r"lists\[1\]: item 5 stands in the list twice"),
        ([[1, -1, 2]], [[1]], 2, r"lists\[0\]: an item stands after -1"),
        ([[1, -7]], [[1]], 2, "-7 is no item code"),
        ([[1, 2]], [[1], [2]], 2, "2 sets for 1 lists"),
        ([1, 2], [[1]], 2, "shape"),
        ([[1, 2]], [[1]], 0, "k=0"),
    ],
)
def test_wrong_lists_are_named(metric: Callable[..., Any], lists: Any, relevant: Any, k: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        metric(lists, relevant, k)


def _random_case(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    lists = np.stack([rng.permutation(40)[:25] for _ in range(30)])
    relevant = [rng.choice(40, size=rng.integers(1, 12), replace=False) for _ in range(30)]
    return lists, relevant


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_agreement_with_trec_eval(seed: int, k: int) -> None:
    lists, relevant = _random_case(np.random.default_rng(seed))
    run = {f"q{u}": {f"d{item}": float(len(row) - r) for r, item in enumerate(row)} for u, row in enumerate(lists)}
    wanted = {f"q{u}": {f"d{item}": 1 for item in items} for u, items in enumerate(relevant)}
    judged = pytrec_eval.RelevanceEvaluator(wanted, {f"recall.{k}", f"P.{k}", f"ndcg_cut.{k}", f"map_cut.{k}", f"success.{k}"})
    told = judged.evaluate(run)

    def theirs(name: str) -> list[float]:
        return [told[f"q{u}"][f"{name}_{k}"] for u in range(len(lists))]

    assert ranking.recall(lists, relevant, k) == pytest.approx(theirs("recall"))
    assert ranking.precision(lists, relevant, k) == pytest.approx(theirs("P"))
    assert ranking.ndcg(lists, relevant, k) == pytest.approx(theirs("ndcg_cut"))
    assert ranking.average_precision(lists, relevant, k) == pytest.approx(theirs("map_cut"))
    assert ranking.hit_rate(lists, relevant, k) == pytest.approx(theirs("success"))


def test_reciprocal_rank_agrees_with_trec_eval() -> None:
    lists, relevant = _random_case(np.random.default_rng(9))
    run = {f"q{u}": {f"d{item}": float(len(row) - r) for r, item in enumerate(row)} for u, row in enumerate(lists)}
    judged = pytrec_eval.RelevanceEvaluator(
        {f"q{u}": {f"d{item}": 1 for item in s} for u, s in enumerate(relevant)}, {"recip_rank"}
    )
    theirs = [judged.evaluate(run)[f"q{u}"]["recip_rank"] for u in range(len(lists))]
    assert ranking.reciprocal_rank(lists, relevant, lists.shape[1]) == pytest.approx(theirs)


def test_one_target_is_the_same_as_a_list_with_one_relevant_item() -> None:
    lists, _ = _random_case(np.random.default_rng(3))
    targets = np.random.default_rng(4).integers(40, size=len(lists))
    places = lists == targets[:, None]
    ranks = np.where(places.any(axis=1), places.argmax(axis=1) + 1, 0)
    assert single_target.hit_at(ranks, 10) == pytest.approx(ranking.recall(lists, targets[:, None], 10))
    assert single_target.ndcg_at(ranks, 10) == pytest.approx(ranking.ndcg(lists, targets[:, None], 10))
    assert single_target.reciprocal_rank_at(ranks, 20) == pytest.approx(ranking.reciprocal_rank(lists, targets[:, None], 20))


@pytest.mark.parametrize(("ranks", "said"), [([1.0, np.nan], "expected integers"), ([3, -1], "-1 is no rank")])
def test_wrong_ranks_are_named(ranks: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        single_target.hit_at(ranks, 10)


def test_coverage_and_gini_by_hand() -> None:
    lists = [[0, 1, 2], [0, 3, -1], [0, 1, 4]]
    assert exposure.exposure(lists, 6, 2).tolist() == [3, 2, 0, 1, 0, 0]
    assert exposure.coverage(lists, 6, 2) == pytest.approx(3 / 6)
    # sorted 0 0 0 1 2 3, weights -5 -3 -1 1 3 5
    assert exposure.gini(lists, 6, 2) == pytest.approx((1 * 1 + 3 * 2 + 5 * 3) / (6 * 6))


def test_gini_is_that_of_the_mean_difference_of_pairs() -> None:
    amounts = np.random.default_rng(5).integers(0, 50, size=40)
    pairs = np.abs(amounts[:, None] - amounts[None, :]).mean()
    assert exposure.gini_of(amounts) == pytest.approx(pairs / (2 * amounts.mean()))


def test_nothing_recommended_covers_nothing() -> None:
    assert exposure.coverage(np.zeros((0, 3), int), 5, 3) == 0
    assert exposure.coverage_of([]) == 0
    assert exposure.gini_of([0, 0]) == 0


@pytest.mark.parametrize("counts", [[1.0, np.nan], [2, -1], [np.inf]])
def test_counts_that_are_none_are_named(counts: list[float]) -> None:
    for metric in (exposure.coverage_of, exposure.gini_of):
        with pytest.raises(ValueError, match="counts"):
            metric(counts)


def test_an_item_outside_the_catalogue_is_named() -> None:
    for metric in (
        lambda: exposure.coverage([[7]], 5, 1),
        lambda: novelty.novelty([[7]], [1, 2], 1),
        lambda: popularity.average_popularity([[7]], [1, 2], 1),
        lambda: diversity.intra_list_diversity([[7]], np.eye(3), 1),
        lambda: calibration.miscalibration([[7]], [[0]], np.eye(3), 1),
    ):
        with pytest.raises(ValueError, match="item 7 is not among"):
            metric()


def test_novelty_by_hand() -> None:
    # 8 events: shares 1/2, 1/4, 1/8, 1/8 and one item that nobody took, which counts as once
    bits = novelty.novelty([[0, 1], [2, 4], [-1, -1]], [4, 2, 1, 1, 0], 2)
    assert bits == pytest.approx([1.5, 3.0, 0.0])
    assert novelty.novelty([[0, 1]], [4, 2, 1, 1], 1) == pytest.approx([1.0])


def test_serendipity_by_hand() -> None:
    lists = [[3, 1, 2, 7], [3, 1, 2, 7]]
    assert novelty.serendipity(lists, [[1], []], [[1, 2], [1, 2]], 4) == pytest.approx([0.25, 0.5])
    assert novelty.serendipity(lists, [[], []], [[7], [3]], 2) == pytest.approx([0.0, 0.5])


def test_diversity_by_hand_and_pair_by_pair() -> None:
    features = np.array([[1.0, 0], [0, 1], [1, 1], [0, 0]])
    cosine = 1 / np.sqrt(2)
    wanted = [((1 - 0) + 2 * (1 - cosine)) / 3, 1.0, 0.0]
    assert diversity.intra_list_diversity([[0, 1, 2], [0, 3, -1], [0, -1, -1]], features, 3) == pytest.approx(wanted)
    rng = np.random.default_rng(6)
    random, row = rng.normal(size=(12, 4)), rng.permutation(12)[:7]
    units = random / np.linalg.norm(random, axis=1, keepdims=True)
    pairs = [1 - units[a] @ units[b] for at, a in enumerate(row) for b in row[at + 1 :]]
    assert diversity.intra_list_diversity([row], random, 10) == pytest.approx([np.mean(pairs)])


def test_diversity_refuses_features_that_are_no_numbers() -> None:
    with pytest.raises(ValueError, match=r"features\[1, 0\]=nan"):
        diversity.intra_list_diversity([[0, 1]], [[1.0], [np.nan]], 2)


def test_popularity_by_hand() -> None:
    counts = [10, 4, 2, 0]
    assert popularity.average_popularity([[0, 1, 2], [3, -1, -1]], counts, 2) == pytest.approx([7, 0])
    # lists: 7 and 10; profiles: 3 and 4, the third user has none and is left out
    lift = popularity.popularity_lift([[0, 1], [0, -1], [3, 2]], [[1, 2], [1], []], counts, 2)
    assert lift == pytest.approx((7 + 10) / (3 + 4) - 1)


def test_popularity_lift_needs_profiles() -> None:
    with pytest.raises(ValueError, match="no user has taken"):
        popularity.popularity_lift([[0]], [[]], [1], 1)
    with pytest.raises(ValueError, match="2 sets for 1 lists"):
        popularity.popularity_lift([[0]], [[0], [0]], [1], 1)


def test_calibration_by_hand() -> None:
    categories = [[1, 0], [0, 1], [2, 2]]
    # profile: 3/4 of the first; list: 1/4 of it
    wanted = 0.75 * log(0.75 / (0.99 * 0.25 + 0.01 * 0.75)) + 0.25 * log(0.25 / (0.99 * 0.75 + 0.01 * 0.25))
    given = calibration.miscalibration([[1, 2], [0, 2], [0, -1]], [[0, 2], [0, 2], [-1, -1]], categories, 2)
    assert given == pytest.approx([wanted, 0.0, 0.0])


def test_calibration_knows_the_worst_case_and_leaves_out_what_has_no_category() -> None:
    categories = [[1, 0], [0, 1], [0, 0]]
    assert calibration.miscalibration([[1]], [[0]], categories, 1, alpha=0.1) == pytest.approx([-log(0.1)])
    assert calibration.miscalibration([[0, 2]], [[0, 2]], categories, 2) == pytest.approx([0.0])
    assert calibration.miscalibration([[2]], [[0]], categories, 1, alpha=0.1) == pytest.approx([-log(0.1)])


@pytest.mark.parametrize(
    ("profiles", "categories", "alpha", "said"),
    [
        ([[0]], [[1.0, np.nan]], 0.01, r"categories\[0, 1\]=nan"),
        ([[0]], [[1.0, -1]], 0.01, r"categories\[0, 1\]=-1"),
        ([[0], [0]], [[1.0]], 0.01, "2 rows for 1 lists"),
        ([[0]], [[1.0]], 0.0, "alpha=0.0"),
    ],
)
def test_calibration_refuses(profiles: Any, categories: Any, alpha: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        calibration.miscalibration([[0]], profiles, categories, 1, alpha)
