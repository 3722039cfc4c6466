"""Rankers of slates: every loss learns an order, NumPy serves what Keras learnt, the contest and its commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from batch.models.interface import Epoch, Watch
from batch.models.ranker import RankingNetwork, to_serve
from batch.models.ranker_losses import LOSSES
from batch.models.slate_linear import LinearSlates
from batch.models.slate_model import PADDING, FittedSlates, Judge, Lists, SlateModel
from batch.models.slate_trees import LambdaMart
from batch.slates.columns import split_by_time
from batch.slates.features import feature_table
from batch.slates.judging import quality
from batch.slates.rankers import Contest, baselines, blend, learnt
from batch.slates.reading import slates_of
from batch.slates.selection import select
from ops import slates_cli
from schemas.errors import InvalidInput
from stream_workers.models.deep.ranker import FeatureScale, SlateRanker
from tests.slate_world import DELAY, ranklens_lines, write_lines

QUICK: dict[str, Any] = {"width": 8, "epochs": 10, "patience": 10, "batch": 16, "dropout": 0.0, "learning_rate": 1e-2}


def separable(count: int = 128, width: int = 6, seed: int = 4) -> Lists:
    """Lists whose first input says who was clicked, of unequal length; the second says nothing."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, width, 2)).astype(np.float32)
    shown = np.arange(width) < rng.integers(4, width + 1, size=count)[:, None]
    clicked = inputs[:, :, 0] > np.median(inputs[:, :4, 0], axis=1, keepdims=True)
    return Lists(inputs * shown[:, :, None], np.where(shown, clicked, PADDING).astype(np.float32))


def judge_of(lists: Lists) -> Judge:
    return lambda scores: float(quality(scores, lists.shown, lists.labels == 1, 0).ndcg.mean())


@pytest.fixture(scope="module")
def contest() -> Contest:
    lines = [(number, json.dumps(line).encode()) for number, line in enumerate(ranklens_lines(400), start=1)]
    slates = slates_of(lines).slates
    return Contest(slates, feature_table(slates, DELAY), split_by_time(slates), seed=3)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_falls_and_orders_what_can_be_told_apart(loss: str) -> None:
    epochs: list[Epoch] = []
    lists, later = separable(), separable(seed=5)
    network = RankingNetwork(loss, **QUICK, watch=Watch(log=lambda number, epoch: epochs.append(epoch)))
    fitted = network.fit(lists, (later, judge_of(later)), seed=1)
    assert epochs[-1].loss < 0.8 * epochs[0].loss
    assert judge_of(later)(fitted.score(later)) > 0.98
    assert 1 <= fitted.length <= len(epochs)


def by_hand(loss: str, labels: list[float], scores: list[float]) -> float:
    shown = [(y, s) for y, s in zip(labels, scores, strict=True) if y != PADDING]
    won = [s for y, s in shown if y == 1]
    lost = [s for y, s in shown if y == 0]
    pairs = [(a, b) for a in won for b in lost]
    if loss == "pointwise":
        return float(np.mean([np.logaddexp(0, -s if y else s) for y, s in shown]))
    if loss == "softmax":
        return float(np.mean([np.logaddexp.reduce([s for _, s in shown]) - s for s in won]))
    if loss == "ranknet":
        return float(sum(np.logaddexp(0, b - a) for a, b in pairs) / len(labels))
    rank = {s: 1 + sum(other > s for _, other in shown) for _, s in shown}
    ideal = sum(1 / np.log2(1 + place) for place in range(1, len(won) + 1))
    return float(sum(np.logaddexp(0, b - a) * abs(1 / np.log2(1 + rank[a]) - 1 / np.log2(1 + rank[b])) for a, b in pairs) / ideal)


@pytest.mark.parametrize("loss", ["pointwise", "ranknet", "softmax", "lambdarank"])
def test_losses_are_what_their_formulas_say(loss: str) -> None:
    labels, scores = [1.0, 0.0, 0.0, 1.0, PADDING], [0.3, 1.2, -0.7, 0.1, 9.0]
    told = LOSSES[loss](0)(np.array([labels], np.float32), np.array([scores], np.float32))
    assert float(told) == pytest.approx(by_hand(loss, labels, scores), rel=1e-5)


def test_bpr_draws_one_other_item_for_each_click() -> None:
    labels, scores = np.array([[1.0, 0.0, 0.0, PADDING]], np.float32), np.array([[0.0, 1.0, 3.0, 9.0]], np.float32)
    bpr = LOSSES["bpr"](2)
    told = {round(float(bpr(labels, scores)) * 4, 3) for _ in range(30)}
    assert told == {round(float(np.logaddexp(0, other)), 3) for other in (1.0, 3.0)}


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'hinge': expected one of pointwise, bpr"):
        RankingNetwork("hinge")


def test_numpy_serves_what_keras_learnt() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(3, 5, size=(40, 7, 5)).astype(np.float32)
    shown = np.arange(7) < rng.integers(2, 8, size=40)[:, None]
    scale = FeatureScale.of(values, shown)
    labels = np.where(shown, rng.random((40, 7)) < 0.4, PADDING).astype(np.float32)
    lists = Lists(scale.inputs(values, shown), labels)
    network = RankingNetwork("softmax", width=8, batch=16, epochs=3)
    model = network.train(lists, 3, seed=2)
    keras_scores = np.asarray(model((lists.inputs, shown), training=False))
    served = to_serve(model, scale)
    assert np.abs(served.score(values, shown) - keras_scores)[shown].max() < 1e-4
    again = SlateRanker.load(served.arrays())
    assert np.array_equal(again.score(values, shown), served.score(values, shown))
    assert keras_scores[shown].std() > 0.01


def test_the_order_of_a_slate_and_what_is_behind_its_end_do_not_matter() -> None:
    rng, lists = np.random.default_rng(7), separable(40)
    scale = FeatureScale.of(lists.inputs, lists.shown)
    model = RankingNetwork("ranknet", width=8).train(Lists(scale.inputs(lists.inputs, lists.shown), lists.labels), 2, seed=1)
    served = to_serve(model, scale)
    full = np.ones((40, 4), bool)
    values = lists.inputs[:, :4]
    order = rng.permutation(4)
    scores = served.score(values, full)
    assert served.score(values[:, order], full) == pytest.approx(scores[:, order], abs=1e-4)
    longer = np.concatenate((values, np.full((40, 3, 2), 1e3, np.float32)), axis=1)
    padded = served.score(longer, np.arange(7) < np.full((40, 1), 4))
    assert padded[:, :4] == pytest.approx(scores, abs=1e-4)
    assert np.all(padded[:, 4:] == -1e9)
    other = values.copy()
    other[:, 1:] += 1
    assert np.abs(served.score(other, full) - scores)[:, 0].max() > 1e-3  # every item sees the others


@pytest.mark.parametrize("broken", ["missing", "shape", "nan"])
def test_a_broken_ranker_is_refused(broken: str) -> None:
    lists = separable(20)
    scale = FeatureScale.of(lists.inputs, lists.shown)
    model = RankingNetwork("ranknet", width=8).train(Lists(scale.inputs(lists.inputs, lists.shown), lists.labels), 1, seed=1)
    arrays = dict(to_serve(model, scale).arrays())
    if broken == "missing":
        del arrays["outer_bias"]
    elif broken == "shape":
        arrays["outer_bias"] = arrays["outer_bias"][:3]
    else:
        arrays["outer_bias"] = np.full_like(arrays["outer_bias"], np.nan)
    with pytest.raises(InvalidInput, match="outer_bias"):
        SlateRanker.load(arrays)


@pytest.mark.parametrize(
    "model", [LinearSlates(), LambdaMart(rounds=40, step=20, least_rows=5), RankingNetwork("ranknet", **QUICK)]
)
def test_models_order_repeat_themselves_and_leave_their_input_alone(model: SlateModel) -> None:
    lists, later = separable(), separable(seed=5)
    before = lists.inputs.copy()
    fitted = model.fit(lists, (later, judge_of(later)), seed=1)
    again = model.refit(lists, fitted.length, seed=1)
    assert judge_of(later)(fitted.score(later)) > 0.97
    assert np.isfinite(again.score(later)[later.shown]).all()
    assert np.array_equal(again.score(later), model.refit(lists, fitted.length, seed=1).score(later))
    assert np.array_equal(lists.inputs, before)


def test_the_best_ranker_beats_the_click_through_rate(contest: Contest) -> None:
    ranked = baselines(contest)
    members = [learnt(contest, model) for model in (LinearSlates(), LambdaMart(rounds=60, step=20))]
    best = contest.mean_ndcg(blend(contest, members).test, contest.split.test)
    reached = {name: contest.mean_ndcg(one.test, contest.split.test) for name, one in ranked.items()}
    assert reached["random"] < reached["clicks"] < best
    assert best > reached["smoothed_ctr"] + 0.02


class _Spy(SlateModel):
    """Notes the labels that it was given to learn from."""

    name = "spy"

    def __init__(self) -> None:
        self.learnt: list[int] = []

    def fit(self, lists: Lists, later: tuple[Lists, Judge], seed: int) -> FittedSlates:
        return self.refit(lists, 5, seed)

    def refit(self, lists: Lists, length: int, seed: int) -> FittedSlates:
        self.learnt.append(len(lists.labels))
        return FittedSlates(lambda asked: np.zeros(asked.labels.shape), length)


def test_no_model_is_given_the_test_to_learn_from(contest: Contest) -> None:
    spy = _Spy()
    done = learnt(contest, spy)
    assert spy.learnt == [len(contest.split.fit), len(contest.split.train)]
    assert done.length == 5
    assert done.test.shape == (len(contest.split.test), contest.slates.items.shape[1])


def test_selection_finds_what_matters(contest: Contest) -> None:
    found = select(contest, LinearSlates())
    groups = {group.group: group for group in found.groups}
    assert groups["context"].alone < groups["competition"].alone < 1
    assert groups["session"].without < found.whole
    drops = [one.drop for one in found.importances]
    assert drops == sorted(drops, reverse=True)
    assert len(drops) == len(contest.table.names)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("events") / "events.jsonl", ranklens_lines(150)).parent


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    found = typer.Typer()
    found.command("slates")(slates_cli.slates)
    found.command("ranker")(slates_cli.train_ranker)
    return found


def test_the_command_compares_all_rankers(app: typer.Typer, events: Path, tmp_path: Path) -> None:
    picture = tmp_path / "features.png"
    done = CliRunner().invoke(app, ["slates", str(events), "--json", "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["slates"]["train"] + told["slates"]["test"] == 150
    assert {"random", "as_shown", "clicks", "smoothed_ctr", "lambdamart", "blend", *LOSSES} <= told["rankers"].keys()
    for figures in told["rankers"].values():
        assert figures["low"] <= figures["ndcg@10"] <= figures["high"]
        assert figures["seconds"] >= 0
    assert told["best"] in told["rankers"]
    assert told["ranklens_ndcg10"] is None  # these are not RankLens' slates
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_command_trains_a_network_that_serves(app: typer.Typer, events: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    out = tmp_path / "ranker.safetensors"
    done = CliRunner().invoke(app, ["ranker", "--data", str(events), "--loss", "ranknet", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["ndcg@10"] > 0.5
    assert SlateRanker.load(load_file(out)).arrays().keys() == SlateRanker.SHAPES.keys()


@pytest.mark.parametrize("options", [["--out", "ranker.txt"], ["--loss", "hinge"]])
def test_wrong_options_are_refused_before_anything_is_read(app: typer.Typer, tmp_path: Path, options: list[str]) -> None:
    done = CliRunner().invoke(app, ["ranker", "--data", str(tmp_path), *options])
    assert isinstance(done.exception, InvalidInput)
    assert options[1] in str(done.exception)
