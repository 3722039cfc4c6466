"""What every deep model promises: it learns, scores are finite and exact after a round trip, and odd logs harm nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import tensorflow

from batch.models.autoencoders import MultDAE, MultVAE
from batch.models.autorec import AutoRec
from batch.models.interface import BatchModel, Epoch, TrainingFailed, Watch
from batch.models.item2vec import Item2Vec
from batch.models.keras_model import KerasModel
from batch.models.neumf import NeuMF
from batch.models.two_tower import TwoTower
from batch.models.wide_deep import WideDeep
from schemas.errors import InvalidInput
from stream_workers.models.deep.loading import load_scorer
from stream_workers.models.deep.scorer import Query, Scorer
from tests.deep_world import CLUSTERS, NEW, PER_CLUSTER, clustered, log_of, rated, some_queries

SMALL: dict[str, KerasModel] = {
    "two_tower": TwoTower(width=16, longest=5, batch=64, uniform=16, epochs=6, rate=0.01),
    "item2vec": Item2Vec(width=16, epochs=6, batch=256, rate=0.02, threshold=1.0),
    "mult_dae": MultDAE(width=16, epochs=6, rate=0.02, every=2, batch=32),
    "mult_vae": MultVAE(width=16, latent=8, epochs=8, rate=0.02, every=2, batch=32, dropout=0.2),
    "autorec": AutoRec(width=16, epochs=12, rate=0.02, batch=8),
    "neumf": NeuMF(width=16, hidden=16, batch=64, uniform=16, epochs=6, rate=0.01),
    "wide_deep": WideDeep(width=16, buckets=1 << 10, epochs=4, batch=64, negatives=8, rate=0.01),
    "dcn": WideDeep(width=16, buckets=1 << 10, epochs=4, batch=64, negatives=8, rate=0.01, cross_layers=2),
}
FOR_TAKEN = sorted(SMALL.keys() - {"autorec"})
Fitted = Callable[[str], Scorer]


@pytest.fixture(scope="module", autouse=True)
def _without_graphs() -> Iterator[None]:
    """Compiling a graph takes longer than these few steps."""
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    made: dict[str, Scorer] = {}

    def of(name: str) -> Scorer:
        if name not in made:
            made[name] = SMALL[name].fit(*(rated() if name == "autorec" else clustered()), seed=3)
        return made[name]

    return of


@pytest.mark.parametrize("name", SMALL)
def test_people_are_ranked_the_items_of_their_cluster_first(fitted: Fitted, name: str) -> None:
    for cluster in range(CLUSTERS):
        taken = np.arange(3) + PER_CLUSTER * cluster
        query = Query(-1, taken, np.zeros(3, np.int64), 10**9, np.full(3, 5, np.float32))
        scores = fitted(name).score([query])[0][: CLUSTERS * PER_CLUSTER].copy()
        scores[taken] = -np.inf
        best = np.argsort(-scores)[: PER_CLUSTER - 3]
        assert np.mean(best // PER_CLUSTER == cluster) > 0.8, (cluster, best)


@pytest.mark.parametrize("name", SMALL)
def test_scores_are_finite_one_row_a_query_and_the_same_for_some_items(fitted: Fitted, name: str) -> None:
    queries = some_queries(clustered()[0], np.random.default_rng(0))
    scores = fitted(name).score(queries)
    assert scores.shape == (len(queries), CLUSTERS * PER_CLUSTER + CLUSTERS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    for items in (np.array([5, 0, 5, 37]), np.arange(scores.shape[1])[::-1]):
        for query, row in zip(queries, scores, strict=True):
            np.testing.assert_allclose(fitted(name).score_some(query, items), row[items], rtol=1e-5, atol=1e-5)
    assert fitted(name).score([]).shape == (0, scores.shape[1])


@pytest.mark.parametrize("name", SMALL)
def test_a_round_trip_gives_the_same_scores_bit_for_bit(fitted: Fitted, name: str) -> None:
    made = fitted(name)
    arrays = {key: array.copy() for key, array in made.arrays().items()}
    for array in arrays.values():
        array.flags.writeable = False  # as a memory map is
    loaded = load_scorer(made.kind, arrays, dict(made.settings()))
    queries = some_queries(clustered()[0], np.random.default_rng(1))
    np.testing.assert_array_equal(loaded.score(queries), made.score(queries))


@pytest.mark.parametrize("name", SMALL)
def test_arrays_that_are_missing_or_do_not_fit_are_refused(fitted: Fitted, name: str) -> None:
    made = fitted(name)
    for key, array in made.arrays().items():
        without = {other: one for other, one in made.arrays().items() if other != key}
        with pytest.raises(InvalidInput, match=key):
            load_scorer(made.kind, without, made.settings())
        with pytest.raises(InvalidInput):
            load_scorer(made.kind, {**without, key: array[None]}, made.settings())


@pytest.mark.parametrize("name", ["two_tower", "item2vec", "mult_vae", "wide_deep"])
def test_the_same_seed_gives_the_same_model_and_leaves_the_log_alone(name: str) -> None:
    model, (train, later) = replace(SMALL[name], epochs=1), clustered(people=9)
    before = [np.copy(column) for column in train[:4]]
    one, two = (model.fit(train, later, seed=5).arrays() for _ in range(2))
    assert all(np.array_equal(one[key], two[key]) for key in one)
    assert all(np.array_equal(old, new, equal_nan=True) for old, new in zip(before, train[:4], strict=True))


@pytest.mark.parametrize("name", ["two_tower", "autorec", "mult_vae"])
def test_a_loss_that_is_not_finite_publishes_nothing(name: str) -> None:
    logs = rated(12) if name == "autorec" else clustered(people=12)
    with pytest.raises(TrainingFailed):
        replace(SMALL[name], rate=1e36, epochs=4).fit(*logs, seed=1)


@pytest.mark.parametrize("name", FOR_TAKEN)
def test_items_without_text_and_one_user_alone_are_enough(name: str) -> None:
    train = log_of([0] * 6, [0, 1, 2, 3, 4, 5], described=False)
    made = replace(SMALL[name], epochs=1).fit(train, train.part(0, 0), seed=1)
    assert np.isfinite(made.score([Query.of([0, 1]), Query.of([])])).all()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("items", [[], [4], [4, 4, 4]])
def test_a_log_with_nothing_to_learn_is_refused(name: str, items: list[int]) -> None:
    log = log_of([0] * len(items), items)
    with pytest.raises(InvalidInput):
        SMALL[name].fit(log, log.part(0, 0), seed=1)


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"two_tower", "item2vec", "autorec", "dcn"}))
def test_an_item_that_nobody_took_is_last(fitted: Fitted, name: str) -> None:
    scores = fitted(name).score(some_queries(clustered()[0], np.random.default_rng(2)))
    assert (scores[:, list(NEW)].max(axis=1) < np.delete(scores, NEW, axis=1).min(axis=1)).all()


def test_every_epoch_is_told() -> None:
    told: list[Epoch] = []
    model: BatchModel = replace(SMALL["mult_dae"], epochs=2)
    model.fit(*clustered(people=9), seed=1, watch=Watch(log=lambda number, epoch: told.append(epoch)))
    assert len(told) == 2
    assert all(0 < epoch.validation <= 1 for epoch in told)
