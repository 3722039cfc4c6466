"""What is served in NumPy is what Keras learnt: the same scores within 1e-4, on random weights and random queries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from batch.datasets.interactions import InteractionLog
from batch.models.autoencoders import MultDAE, MultVAE, _Autoencoder
from batch.models.autorec import AutoRec, item_means
from batch.models.content import numbered
from batch.models.item2vec import Item2Vec
from batch.models.neumf import NeuMF
from batch.models.neumf import Steps as NeuMFSteps
from batch.models.two_tower import Steps as TowerSteps
from batch.models.two_tower import TwoTower
from batch.models.user_rows import UserRows
from batch.models.wide_deep import WideDeep
from stream_workers.models.deep.autoencoder import input_amounts
from stream_workers.models.deep.scorer import Query, Scorer
from stream_workers.models.deep.towers import TwoTowerScorer
from tests.deep_world import clustered, randomise, rated, some_queries

WITHIN = 1e-4


def at_events(log: InteractionLog, events: np.ndarray[Any, Any]) -> list[Query]:
    """What was known just before each event."""
    found = []
    for event in events:
        before = np.flatnonzero(log.users[:event] == log.users[event])
        ones = np.ones(len(before), np.float32)
        found.append(Query(int(log.users[event]), log.items[before], log.timestamps[before], int(log.timestamps[event]), ones))
    return found


def largest_gap(scorer: Scorer, log: InteractionLog, events: Any, candidates: Any, logits: Any, inputs: dict[str, Any]) -> float:
    """Between the scorer's scores of each event's candidates and the network's logits without their correction."""
    found = np.take_along_axis(scorer.score(at_events(log, events)), np.broadcast_to(candidates, logits.shape), axis=1)
    wanted = keras.ops.convert_to_numpy(logits) - inputs["offsets"]
    counted = inputs["offsets"] > -1e8
    assert counted.mean() > 0.5
    assert np.ptp(wanted[counted]) > 1  # the weights do say something
    return float(np.abs(found[counted] - wanted[counted]).max())


def test_two_towers() -> None:
    log, _ = clustered()
    model = TwoTower(width=16, longest=5, batch=32, uniform=32)
    steps = TowerSteps(model, log, 1)
    network = model.network(log, steps, 1)
    randomise(network, 7)
    events = np.arange(60, 120, 2)
    inputs = steps.inputs(events, np.random.default_rng(0))
    candidates = inputs["rows"][inputs["candidates"]]
    scorer = TwoTowerScorer(network.arrays(log.catalogue.first_seen))
    assert largest_gap(scorer, log, events, candidates, network(inputs), inputs) < WITHIN


def test_neumf_with_known_and_unknown_users() -> None:
    log, _ = clustered()
    model = NeuMF(width=16, hidden=16, second=8, longest=5, batch=32, uniform=32)
    steps = NeuMFSteps(model, log, 1)
    network = model.network(log, steps, 1)
    randomise(network, 7)
    events = np.arange(60, 120, 2)
    inputs = steps.inputs(events, np.random.default_rng(0))
    scorer = model.scorer(network, np.ones(log.catalogue.size, np.bool_))
    assert largest_gap(scorer, log, events, inputs["candidates"], network(inputs), inputs) < WITHIN
    network.user_gmf.embeddings.assign(keras.ops.zeros_like(network.user_gmf.embeddings))
    network.user_mlp.embeddings.assign(keras.ops.zeros_like(network.user_mlp.embeddings))
    logits = keras.ops.convert_to_numpy(network(inputs | {"offsets": np.float32(0)}))
    strangers = [query._replace(user=-1) for query in at_events(log, events)]
    np.testing.assert_allclose(scorer.score(strangers)[:, inputs["candidates"]], logits, atol=WITHIN)


@pytest.mark.parametrize("cross_layers", [0, 2])
def test_wide_and_deep(cross_layers: int) -> None:
    log, _ = clustered()
    log = log._replace(catalogue=log.catalogue._replace(first_seen=np.arange(log.catalogue.size) * 3 * 10**5))
    model = WideDeep(width=8, kind_width=4, buckets=1 << 8, cross_layers=cross_layers, longest=5, negatives=20)
    categories, names = numbered(log.catalogue.categories, 4, 100)
    features = model.features(log, categories, 1)
    network = model.network(features, categories, len(names), 1)
    randomise(network, 7)
    fixed = model.fixed_arrays(log, categories, features) | {"strangers": np.zeros(log.catalogue.size, np.float32)}
    events = np.arange(60, 120, 2)
    inputs = features.inputs(events, np.random.default_rng(0))
    inputs["numbers"][..., :3] = fixed["shares"][inputs["candidates"]]  # the scorer has the shares of the log's end
    assert largest_gap(model.scorer(network, fixed), log, events, inputs["candidates"], network(inputs), inputs) < WITHIN


@pytest.mark.parametrize("model", [MultDAE(width=16), MultVAE(width=16, latent=8)])
def test_autoencoders(model: _Autoencoder) -> None:
    log, _ = clustered()
    rows = UserRows.of(log)
    network = model.network(len(rows.known), 1)
    randomise(network, 7)
    queries = some_queries(log, np.random.default_rng(3))
    inputs = np.zeros((len(queries), log.catalogue.size), np.float32)
    for row, query in zip(inputs, queries, strict=True):
        np.add.at(row, query.items, input_amounts(query.items, model.half_life))
    found = model.scorer(network, rows, log.catalogue.size).score(queries)[:, rows.known]
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(network(inputs[:, rows.known])), atol=WITHIN)


def test_autorec() -> None:
    log, _ = rated()
    rows, means = UserRows.of(log), item_means(log, 5.0)
    model = AutoRec(width=16)
    network = model.network(len(rows.known), 1)
    randomise(network, 7)
    inputs, _ = next(model.examples(rows, means, 1, 0))
    users = np.random.default_rng([1, 0]).permutation(rows.users)[: model.batch]
    queries = [
        Query(-1, rows.known[rows.items[rows.span(user)]], np.zeros(0, np.int64), 0, rows.ratings[rows.span(user)])
        for user in users
    ]
    queries = [query._replace(timestamps=np.zeros(len(query.items), np.int64)) for query in queries]
    wanted = keras.ops.convert_to_numpy(network(inputs)) + means[rows.known]
    np.testing.assert_allclose(model.scorer(network, rows, means, log).score(queries)[:, rows.known], wanted, atol=WITHIN)


def test_item2vec_scores_what_skip_gram_learnt() -> None:
    model = replace(Item2Vec(), popularity=0.0, epochs=1, batch=256, width=8)
    log, later = clustered()
    scorer = model.fit(log, later, seed=1)
    centre = np.asarray(scorer.arrays()["centres"])[4]
    np.testing.assert_allclose(scorer.score([Query.of([4])])[0], scorer.item_vectors @ centre, atol=WITHIN)
