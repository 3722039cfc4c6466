"""The maths of serving: cases computed by hand, and properties that hold for all inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.item_blob import Neighbours
from feature_store.trending_blob import Trending
from schemas.horizons import DAY_MS, HALF_LIVES, HOUR_MS, WINDOWS
from serving.ranking import trending
from serving.ranking.affinity import affinity, strongest_categories
from serving.ranking.covisitation import covisitation, similar
from serving.ranking.evidence import Evidence, ranked, strongest, total
from serving.ranking.fusion import CONSTANT, contributions, fuse, votes
from serving.ranking.reasons import because, popular_in, similar_to

ITEMS = st.sampled_from([f"i{n}" for n in range(30)])
SCORES = st.dictionaries(ITEMS, st.floats(0, 100), max_size=30)
RANKINGS = st.lists(ITEMS, unique=True, max_size=20)


def near(weights: dict[str, float], audience: float = 0.0, at: int = 0, newest: int = 0) -> Neighbours:
    return Neighbours(list(weights), np.array(list(weights.values()), np.float32), at, audience, newest)


# --- co-visitation


def test_one_seed_gives_its_weights_damped_by_its_audience() -> None:
    scores = total(covisitation([("a", near({"x": 4.0, "y": 2.0}, audience=3.0))]))
    assert scores == {"x": pytest.approx(2.0), "y": pytest.approx(1.0)}  # (3 + 1) ** -1/2 = 1/2


def test_older_seeds_count_less() -> None:
    scores = total(covisitation([("new", near({"x": 1.0})), ("old", near({"y": 1.0, "x": 1.0}))], rho=0.5))
    assert scores == {"x": pytest.approx(1.5), "y": pytest.approx(0.5)}


def test_weights_are_carried_to_one_moment() -> None:
    seeds = [("quiet", near({"x": 1.0}, at=0)), ("busy", near({"y": 1.0}, at=1000))]
    scores = total(covisitation(seeds, rho=1.0, half_life_ms=1000.0))
    assert scores == {"x": pytest.approx(0.5), "y": pytest.approx(1.0)}


def test_an_audience_fades_too() -> None:
    sixty_days = 60 * DAY_MS
    faded = near({"x": 2.0}, audience=6.0, at=sixty_days, newest=0)  # 3 at the moment of the weights
    assert total(covisitation([("a", faded)])) == {"x": pytest.approx(1.0)}


def test_no_seeds_no_candidates() -> None:
    assert covisitation([]) == []
    assert total([]) == {}


def test_similar_is_damped_by_both_audiences() -> None:
    assert similar(near({"x": 6.0, "y": 6.0}), {"x": 8.0}, count=3.0) == {"x": pytest.approx(1.0), "y": pytest.approx(3.0)}


# --- evidence


def test_the_strongest_evidence_is_named_and_the_first_of_equals() -> None:
    evidence = [Evidence("a", {"x": 1.0}), Evidence("b", {"x": 1.0, "y": 0.1}), Evidence("c", {"x": 0.5})]
    assert strongest(evidence, "x") == "a"
    assert strongest(evidence, "y") == "b"
    assert strongest(evidence, "z") is None


@given(SCORES, st.integers(0, 40))
def test_ranked_is_sorted_and_bounded_and_equals_keep_their_order(scores: dict[str, float], limit: int) -> None:
    result = ranked(scores, limit)
    assert ranked(dict.fromkeys(scores, 1.0), limit) == list(scores)[:limit]
    assert len(result) == min(limit, len(scores))
    assert [scores[item] for item in result] == sorted(scores.values(), reverse=True)[:limit]


@given(st.lists(SCORES, max_size=5))
def test_total_is_the_sum_of_the_parts(parts: list[dict[str, float]]) -> None:
    scores = total([Evidence(str(n), part) for n, part in enumerate(parts)])
    assert scores.keys() == set().union(*parts)
    for item, score in scores.items():
        assert score == pytest.approx(sum(part.get(item, 0.0) for part in parts))


# --- affinity


def test_categories_share_one() -> None:
    assert strongest_categories({"a": 2.0, "b": 1.0, "c": 1.0, "d": 0.0}, limit=2) == {"a": 2 / 3, "b": 1 / 3}
    assert strongest_categories({}) == {}
    assert strongest_categories({"a": 0.0}) == {}


def test_affinity_weights_each_categorys_popular_items() -> None:
    evidence = affinity({"Horror": 0.75, "War": 0.25}, {"Horror": {"x": 1.0, "y": 0.5}, "War": {"y": 1.0}})
    assert total(evidence) == {"x": 0.75, "y": 0.625}
    assert strongest(evidence, "y") == "Horror"


def test_a_category_without_a_list_says_nothing() -> None:
    assert affinity({"Western": 1.0}, {}) == []


# --- trending


def part(items: dict[str, float], at: int, window: int = 1) -> Trending:
    decayed = np.repeat(np.array(list(items.values()), np.float32)[:, None], len(HALF_LIVES), axis=1)
    return Trending(list(items), decayed, np.full((len(items), len(WINDOWS)), window, np.uint32), at)


def test_parts_are_decayed_to_the_newest_moment() -> None:
    merged = trending.merge([part({"old": 8.0}, 0), part({"new": 1.0}, HOUR_MS)])
    assert merged.at == HOUR_MS
    one_hour = trending.by_half_life(merged, "1h").tolist()
    assert one_hour == [pytest.approx(4.0), pytest.approx(1.0)]
    assert trending.by_half_life(merged, "60d")[0] == pytest.approx(8.0, rel=1e-3)


def test_a_window_that_has_passed_counts_nothing() -> None:
    merged = trending.merge([part({"old": 1.0}, 0, window=5), part({"new": 1.0}, 2 * HOUR_MS, window=3)])
    assert trending.by_window(merged, "1h").tolist() == [0.0, 3.0]
    assert trending.by_window(merged, "24h").tolist() == [5.0, 3.0]


def test_nothing_is_popular_in_an_empty_store() -> None:
    assert trending.merge([]) is trending.NOTHING
    assert trending.leaders(trending.NOTHING, trending.mixed(trending.NOTHING), 10) == {}


def test_the_mix_weighs_every_time_scale_alike() -> None:
    decayed = np.array([[4.0, 0.0, 0.0, 0.0, 0.0, 0.0], [2.0, 9.0, 9.0, 9.0, 9.0, 9.0]], np.float32)
    popularity = trending.merge([Trending(["burst", "steady"], decayed, np.zeros((2, len(WINDOWS)), np.uint32), 0)])
    assert trending.mixed(popularity).tolist() == [pytest.approx(1 / 6), pytest.approx(5.5 / 6)]


def test_leaders_are_ordered_by_score_then_id_and_have_something_to_show() -> None:
    popularity = trending.merge([part({"b": 1.0, "a": 1.0, "c": 3.0, "zero": 0.0}, 0)])
    assert list(trending.leaders(popularity, trending.by_half_life(popularity, "1h"), 10)) == ["c", "a", "b"]
    assert list(trending.leaders(popularity, trending.by_half_life(popularity, "1h"), 1)) == ["c"]


@pytest.mark.parametrize("rank", [trending.by_half_life, trending.by_window])
def test_unknown_time_scales_are_refused(rank: object) -> None:
    with pytest.raises(ValueError, match="2h"):
        rank(trending.NOTHING, "2h")  # type: ignore[operator]


# --- fusion


def test_reciprocal_ranks_add_up() -> None:
    sources = {"covisitation": votes(["a", "b"], 1.0), "trending": votes(["b"], 0.5)}
    fused = fuse(sources)
    assert list(fused) == ["b", "a"]
    assert fused["b"] == pytest.approx(1 / (CONSTANT + 2) + 0.5 / (CONSTANT + 1))
    assert contributions(sources, "b") == {"covisitation": 1 / (CONSTANT + 2), "trending": 0.5 / (CONSTANT + 1)}


def test_equals_stand_in_the_order_of_the_sources() -> None:
    assert list(fuse({"one": {"z": 0.5}, "two": {"a": 0.5}})) == ["z", "a"]


@given(st.dictionaries(st.sampled_from(["covisitation", "affinity", "trending"]), RANKINGS), st.floats(0.01, 10))
def test_contributions_sum_to_the_score_and_the_list_is_sorted(rankings: dict[str, list[str]], weight: float) -> None:
    sources = {name: votes(items, weight) for name, items in rankings.items()}
    fused = fuse(sources)
    assert list(fused.values()) == sorted(fused.values(), reverse=True)
    assert fused.keys() == set().union(*rankings.values())
    for item, score in fused.items():
        parts = contributions(sources, item)
        assert math.isclose(sum(parts.values()), score)
        assert list(parts.values()) == sorted(parts.values(), reverse=True)


@given(RANKINGS)
def test_one_source_alone_keeps_its_order(items: list[str]) -> None:
    assert list(fuse({"only": votes(items, 1.0)})) == items


# --- reasons


def test_reasons_say_what_was_done() -> None:
    assert because("Alien", None) == "because you watched Alien"
    assert because("{odd} title", 2) == "because you liked {odd} title"
    assert because("Alien", 5) == "because you put Alien in your cart"
    assert popular_in("Horror", liked=False) == "popular in Horror"
    assert similar_to("Alien") == "similar to Alien"
