"""Features in impressions: what the blend's network saw, for a share of the requests, bounded, under a digest of their names."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_store.feature_vectors import decoded, digest_of, encoded, octets_of
from serving.blend_features import LOGGED_PLACES, FeatureSample, digest, feature_names, vectors
from serving.blended import shares
from serving.presentation import impression
from serving.query import RecommendationQuery
from stream_workers.models.online.features import FEATURES
from stream_workers.models.online.sources import SOURCES
from tests.ranked_world import favouring, films, promoted, serving, shown
from tests.test_serving_world import NOW, World

ANN = RecommendationQuery(user_id="ann", k=10)


@pytest.fixture
def world() -> World:
    world = films()[0]
    world.learn(("ann", "h3", "click", 120_000), ("ann", "h7", "click", 60_000))
    return world


async def logged(world: World, root: Path, sample: float, query: RecommendationQuery = ANN, request: str = "r1") -> dict[str, Any]:
    decision, answer = await shown(await serving(world, root, sample), query, request, NOW)
    return impression(decision, answer, NOW)


@pytest.mark.parametrize("ranked", [False, True])
async def test_an_impression_carries_what_the_network_saw(world: World, tmp_path: Path, ranked: bool) -> None:
    """Of each item its own, and the blend's own log p, also where a ranker put them into another order."""
    if ranked:
        promoted(tmp_path, favouring("log_count", -3.0))
    services = await serving(world, tmp_path)
    decision, answer = await shown(services, ANN, "r1", NOW)
    value = impression(decision, answer, NOW)
    assert value["feature_names"] == digest(SOURCES)
    assert decision.blended is not None
    proposal = decision.blended.proposal
    assert proposal.features is not None
    own = shares(proposal.scores)
    assert ("ranker" in answer["models"]) == ranked
    for place in value["items"]:
        if place["item_id"] not in proposal.items:
            continue  # a newcomer
        row, stored = proposal.items.index(place["item_id"]), decoded(b64decode(place["features"]))
        assert len(stored) == len(FEATURES) + 1
        assert stored[:-1] == pytest.approx(proposal.features[:, row], abs=4e-3)
        assert np.exp(stored[-1]) == pytest.approx(own[row], rel=4e-3)


async def test_only_a_sample_carries_them(world: World, tmp_path: Path) -> None:
    assert "feature_names" not in await logged(world, tmp_path, 0.0)
    carried = ["feature_names" in await logged(world, tmp_path, 0.5, request=f"r{n}") for n in range(12)]
    assert any(carried)
    assert not all(carried)
    assert not any("features" in place for place in (await logged(world, tmp_path, 0.0))["items"])


def test_the_share_of_the_sample_is_what_was_asked_for() -> None:
    taken = sum(FeatureSample(0.1).takes(f"01KDWCJ2QR{n:016}") for n in range(20_000))
    assert taken == pytest.approx(2000, rel=0.1)


async def test_a_long_list_is_bounded(world: World, tmp_path: Path) -> None:
    value = await logged(world, tmp_path, 1.0, RecommendationQuery(user_id="ann", k=78))
    told = ["features" in place for place in value["items"]]
    assert len(told) > LOGGED_PLACES
    assert told == [True] * LOGGED_PLACES + [False] * (len(told) - LOGGED_PLACES)


def test_names_of_published_models_are_part_of_the_digest() -> None:
    other = ("two_tower" if name == "batch_1" else name for name in SOURCES)
    named = feature_names(tuple(other))
    assert "two_tower" in named
    assert "place_two_tower" in named
    assert digest_of((*named, "log_share")) != digest(SOURCES)


def test_vectors_survive_the_way(rng: np.random.Generator = np.random.default_rng(3)) -> None:  # noqa: B008 - never drawn twice
    values = rng.normal(0, 3, (5, 49)).astype(np.float32)
    back = [decoded(octets_of(text) or b"") for text in encoded(values)]
    assert np.stack(back) == pytest.approx(values, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("text", [None, 7, {"a": 1}, "", "no base64!", "QUJD", "A" * 8192])
def test_what_is_no_vector_is_none(text: Any) -> None:
    assert octets_of(text) is None


async def test_a_proposal_that_was_not_asked_for_features_has_none(world: World, tmp_path: Path) -> None:
    decision, _ = await shown(await serving(world, tmp_path, 0.0), ANN, "r1", NOW)
    assert decision.blended is not None
    with pytest.raises(ValueError, match="without features"):
        vectors(decision.blended.proposal, slice(3))
