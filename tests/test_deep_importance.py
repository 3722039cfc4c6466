"""What groups of features are worth: what is lost when their values are dealt out anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow

from batch.models.interface import Shuffles, Watch
from batch.models.keras_model import KerasModel
from batch.models.later_quality import later_quality
from batch.models.two_tower import TwoTower
from batch.models.wide_deep import WideDeep
from batch.shuffling import REPEATS, drops
from ops.batch_page import page
from ops.batch_table import importance_rows
from stream_workers.models.deep.scorer import Scorer
from tests.deep_world import clustered, some_queries
from tests.test_batch_judging import a_run, chance

MODELS: dict[str, KerasModel] = {
    "two_tower": TwoTower(width=16, longest=5, batch=64, uniform=16, epochs=4, rate=0.01),
    "wide_deep": WideDeep(width=16, buckets=1 << 10, epochs=3, batch=64, negatives=8, rate=0.01),
}
each_model = pytest.mark.parametrize("name", MODELS)
LOGS = clustered(people=30, each=8)


class Told(NamedTuple):
    scorer: Scorer
    shuffles: Shuffles


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Told]]:
    tensorflow.config.run_functions_eagerly(True)  # compiling a graph takes longer than these few steps
    found = {}
    for name, model in MODELS.items():
        groups: list[Shuffles] = []
        found[name] = Told(model.fit(*LOGS, seed=3, watch=Watch(features=groups.append)), groups[0])
    yield found
    tensorflow.config.run_functions_eagerly(False)


@each_model
def test_the_history_is_worth_most_and_what_says_nothing_is_worth_nothing(told: dict[str, Told], name: str) -> None:
    quality = later_quality(*LOGS, seed=1)
    assert quality is not None
    ways = {group: lambda rng, make=make: quality(make(rng)) for group, make in told[name].shuffles.items()}
    lost = drops(quality(told[name].scorer), ways, np.random.default_rng(1))
    assert next(iter(lost)) == "history"
    assert lost["history"] > 0.1
    assert lost["age"] == 0  # all items are of one age
    assert list(lost.values()) == sorted(lost.values(), reverse=True)
    assert lost == drops(quality(told[name].scorer), ways, np.random.default_rng(1))


@each_model
def test_every_group_changes_scores_and_leaves_the_model(told: dict[str, Told], name: str) -> None:
    queries = some_queries(LOGS[0], np.random.default_rng(0))
    before = told[name].scorer.score(queries)
    common = {"history", "context", "categories", "numbers", "age"}
    assert told[name].shuffles.keys() == (common | {"text"} if name == "two_tower" else common)
    for group, make in told[name].shuffles.items():
        changed = make(np.random.default_rng(2)).score(queries)
        assert changed.shape == before.shape
        assert np.isfinite(changed).all()
        assert np.array_equal(changed, before) == (group == "age"), group
    np.testing.assert_array_equal(told[name].scorer.score(queries), before)


def test_a_loss_is_the_mean_of_several_shuffles() -> None:
    values = iter((0.1, 0.2, 0.6, 0.5, 0.5, 0.5))
    lost = drops(0.5, {"one": lambda rng: next(values), "two": lambda rng: next(values)}, np.random.default_rng(1))
    assert REPEATS == 3
    assert lost == pytest.approx({"one": 0.2, "two": 0.0})


def test_it_is_shown_in_the_table_and_on_the_page() -> None:
    bare = a_run(chance())
    assert "Which features matter" not in page(bare)
    *others, deep = bare.models
    shown = bare._replace(models=(*others, deep._replace(importance={"history": 0.25, "text": -0.01})))
    header, rows = importance_rows(shown)
    assert header[1:] == ["history", "text"]
    assert rows == [["gru<2>", "+0.2500", "-0.0100"]]
    assert "Which features matter" in page(shown)
