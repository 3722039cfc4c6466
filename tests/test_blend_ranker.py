"""The whole loop: people are shown the blend's lists and click, a ranker learns from it, the gate decides, the API follows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from batch.blend_ranking import BLEND
from batch.models.ranker import RankingNetwork, place_bias
from batch.models.slate_model import Lists
from batch.ranker_promotion import RankerRun, publish_trained_ranker
from batch.registry.pointers import withdraw
from feature_store.version_pointers import read_state
from ops.blend_ranker import Done, as_document, train
from ops.cli import app
from schemas.errors import InvalidInput
from serving.services import Services
from stream_workers.models.deep.ranker import FeatureScale, SlateRanker
from tests.ranked_world import (
    PLACES,
    Clicks,
    anything,
    chance,
    favouring,
    films,
    promoted,
    serving,
    shown,
    simulate,
    tired_of_hits,
    visitors,
)
from tests.small_bank import freshet
from tests.test_rescorer import NOTE
from tests.test_serving_world import NOW, World

REQUESTS, WINDOW = 3400, 30 * 60_000
LATER = 100_000_000_000  # the new lists are shown behind all that was learnt from


class Loop(NamedTuple):
    world: World
    root: Path
    lake: Path
    done: Done


def loop(folder: Path, clicks: Clicks) -> Loop:
    """People click, a ranker is trained and published if it may serve."""
    world, _ = films()
    root, lake = folder / "models", folder / "lake"

    async def clicked() -> None:
        await simulate(await serving(world, root), lake, REQUESTS, clicks)

    asyncio.run(clicked())
    return Loop(world, root, lake, train(str(lake), "softmax", 1, WINDOW, root, lambda text: None))


@pytest.fixture(scope="module")
def learnable(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return loop(tmp_path_factory.mktemp("learnable"), tired_of_hits)


async def likely_clicks(services: Services, count: int = 200) -> float:
    """Clicks to be expected in the first five places of new visitors' lists."""
    found = []
    for n, query in enumerate(visitors(count, seed=77)):
        _, answer = await shown(services, query, f"new{n}", NOW + LATER + n)
        found.append(sum(chance(item["item_id"]) for item in answer["items"][:5]))
    return float(np.mean(found))


async def test_what_can_be_learnt_is_learnt_published_and_serves_better_lists(learnable: Loop) -> None:
    world, root, _, done = learnable
    gain = done.trained.figures[done.trained.loss].gain
    assert gain.low[0] > 0.05, "surely better than the blend's own order, on later time"
    assert done.published is not None
    assert done.published.verdict.promote, done.published.verdict.reasons
    assert read_state(root, "blend_ranker").serving == done.published.version
    alone = await serving(world, root / "none")
    ranked = await serving(world, root)
    assert ranked.rescorer.published.current is not None
    assert await likely_clicks(ranked) > 1.2 * await likely_clicks(alone)


async def test_the_api_scores_as_training_did(learnable: Loop) -> None:
    """What is logged, scored as in training, stands in the order in which it was shown."""
    ranker, contest = learnable.done.trained.ranker, learnable.done.trained.contest
    rows = np.arange(20)
    vectors, shown_places = contest.table.values[rows], contest.slates.shown[rows]
    whole = ranker.score_slates(vectors, shown_places)
    for slate, places, scores in zip(vectors, shown_places, whole, strict=True):
        assert ranker.score(slate[places], int(places.sum())) == pytest.approx(scores[places], abs=1e-4)


async def test_where_there_is_nothing_to_learn_the_gate_refuses(tmp_path: Path) -> None:
    world, root, _, done = await asyncio.to_thread(loop, tmp_path, anything)
    assert done.published is not None
    assert not done.published.verdict.promote
    assert any("not surely better than blend" in reason for reason in done.published.verdict.reasons)
    state = read_state(root, "blend_ranker")
    assert (state.serving, state.shadow) == (None, done.published.version)
    services = await serving(world, root)
    _, answer = await shown(services, next(visitors(1, 3)), "new", NOW + LATER)
    assert "ranker" not in answer["models"]


def test_a_later_one_must_beat_what_serves(learnable: Loop, tmp_path: Path) -> None:
    trained, root = learnable.done.trained, tmp_path
    first = publish_trained_ranker(root, trained, RankerRun({}, "0", 1, NOW))
    again = publish_trained_ranker(root, trained, RankerRun({}, "0", 1, NOW + 1000))
    assert (first.verdict.promote, again.verdict.promote) == (True, False)
    assert any("not surely better than the serving version" in reason for reason in again.verdict.reasons)
    assert read_state(root, "blend_ranker").pointers == (first.version, again.version)


def test_one_that_serves_with_other_features_is_no_rival(learnable: Loop, tmp_path: Path) -> None:
    promoted(tmp_path, favouring("log_count", 1.0, features="0123456789ab"))
    published = publish_trained_ranker(tmp_path, learnable.done.trained, RankerRun({}, "0", 1, NOW + 1000))
    assert published.verdict.promote
    assert read_state(tmp_path, "blend_ranker").serving == published.version


async def test_the_document_tells_all_and_rollback_takes_it_away(learnable: Loop) -> None:
    world, root, _, done = learnable
    document = as_document(done)
    assert document["rankers"].keys() == {"as_shown", BLEND, "lambdamart", "softmax"}
    assert document["rankers"][BLEND]["over_blend"] == 0
    assert document["slates"]["test_clicked"] >= 500
    assert len(document["place_bias"]) == PLACES
    services = await serving(world, root)
    assert done.published is not None
    result = freshet("models", "rollback", "blend_ranker", "--off", "--root", root)
    assert result.exit_code == 0, result.output
    services.rescorer.published.refresh()
    _, answer = await shown(services, next(visitors(1, 3)), "new", NOW + LATER)
    assert "ranker" not in answer["models"]


def biased(count: int, seed: int) -> Lists:
    """Clicks by the place and by the second input. The first one decides, with some luck, who stands where, and nothing else."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, 8, 2)).astype(np.float32)
    order = np.argsort(rng.normal(size=(count, 8)) - inputs[:, :, 0], axis=1)
    inputs = np.take_along_axis(inputs, order[:, :, None], axis=1)
    places = np.broadcast_to(np.arange(8, dtype=np.int32), (count, 8)).copy()
    clicked = rng.random((count, 8)) < 1 / (1 + np.exp(0.4 * places - inputs[:, :, 1]))
    return Lists(inputs, clicked.astype(np.float32), np.zeros((count, 8), np.float32), places)


def test_the_place_explains_the_clicks_that_it_earned() -> None:
    """The first input only seems to matter, because it decided the place; the second does."""
    lists = biased(800, 1)
    quick = RankingNetwork("softmax", width=4, dropout=0.0, epochs=6, batch=32, learning_rate=2e-2, l2=1e-3)
    told, untold = quick.train(lists, 6, 1), quick.train(lists._replace(offsets=None, places=None), 6, 1)
    bias = place_bias(told)
    assert bias[0] == 0
    assert bias[7] < bias[4] < -0.5
    probe = np.zeros((1, 8, 2), np.float32)
    probe[0, :, 0] = np.linspace(2, -2, 8)
    shown_places, nothing = np.ones((1, 8), np.bool_), np.zeros((1, 8), np.float32)
    with_place = np.asarray(told((probe, shown_places, nothing, np.zeros((1, 8), np.int32)), training=False))[0]
    without = np.asarray(untold((probe, shown_places), training=False))[0]
    assert abs(with_place[0] - with_place[7]) < 0.5 * abs(without[0] - without[7])


def test_a_context_of_all_is_the_whole_slate() -> None:
    rng = np.random.default_rng(2)
    sizes = {"1": 1, "F": 5, "2F": 10, "D": 6, "H": 2, "K": 3}
    arrays = {name: rng.normal(size=[sizes[one] for one in shape]).astype(np.float32) for name, shape in SlateRanker.SHAPES.items()}
    values = rng.normal(size=(1, 9, 5)).astype(np.float32)
    shown_places = np.ones((1, 9), np.bool_)
    arrays |= FeatureScale.of(values, shown_places)._asdict()
    ranker = SlateRanker.load(arrays)
    assert ranker.score_beside(values[0], 9) == pytest.approx(ranker.score(values, shown_places)[0], abs=1e-4)
    few = ranker.score_beside(values[0], 4)
    assert few[:4] == pytest.approx(ranker.score(values[:, :4], shown_places[:, :4])[0], abs=1e-4), "those behind change nothing"
    assert ranker.score_beside(values[0, [0, 1, 2, 3, 7]], 4)[4] == pytest.approx(few[7], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "elsewhere"), "blend_ranker learns from logged impressions"),
        (("--data", "lake:{}", "--loss", "hinge"), "loss 'hinge'"),
        (("--data", "lake:{}"), "none of 0 impressions has features"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    told = [argument.replace("{}", str(tmp_path)) for argument in arguments]
    result = CliRunner().invoke(app, ["batch", "train", "blend_ranker", *told])
    assert result.exit_code != 0
    assert said in f"{result.output}{result.exception}"


def test_publishing_needs_a_folder(tmp_path: Path) -> None:
    result = freshet("batch", "train", "blend_ranker", "--data", f"lake:{tmp_path}", "--publish", FRESHET_MODELS="")
    assert result.exit_code != 0
    assert "--publish needs the folder" in f"{result.output}{result.exception}"


def test_withdrawing_nothing_is_told(tmp_path: Path) -> None:
    promoted(tmp_path, favouring("log_count", 1.0))
    withdraw(tmp_path, "blend_ranker", NOTE)
    with pytest.raises(InvalidInput, match="no version serves"):
        withdraw(tmp_path, "blend_ranker", NOTE)
