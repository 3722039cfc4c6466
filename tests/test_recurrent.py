"""The recurrent scorers: one step at a time in NumPy is what Keras computes over whole sequences."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from batch.models.item_labels import item_labels
from batch.models.recurrent_network import GRU, MIN_GRU, CellKind, NextItem, Shape, scan
from batch.models.training import begin
from schemas.errors import InvalidInput
from stream_workers.models.deep.loading import load_scorer
from stream_workers.models.deep.recurrent import Recurrent, gap_input
from stream_workers.models.deep.scorer import Query
from tests.tiny_log import tiny_catalogue

ITEMS, LONG, USERS = 40, 23, 6
both = pytest.mark.parametrize(("kind", "tied"), [(GRU, True), (GRU, False), (MIN_GRU, True), (MIN_GRU, False)])


def network(kind: CellKind, tied: bool = True) -> NextItem:
    """Untrained, but with every weight away from zero."""
    begin(3)
    made = NextItem(
        Shape(12, 20, 0.3, 0.3, tied), kind, np.log(np.arange(1, ITEMS + 1, dtype=np.float32)), item_labels(tiny_catalogue(ITEMS))
    )
    made.build(None)
    rng = np.random.default_rng(8)
    for weight in made.trainable_variables:
        weight.assign(np.asarray(weight) + rng.normal(0, 0.4, weight.shape))
    return made


def sequences() -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    gaps = rng.integers(0, 10**9, (USERS, LONG))
    gaps[:, 0] = 0
    return rng.integers(ITEMS, size=(USERS, LONG)), gaps


@both
def test_steps_in_numpy_are_the_sequence_in_keras(kind: CellKind, tied: bool) -> None:
    model, (items, gaps) = network(kind, tied), sequences()
    inputs = {"items": items.astype(np.int32), "gaps": gap_input(gaps)}
    states, logits = np.asarray(model.states(inputs)), np.asarray(model(inputs))
    scorer = model.scorer(np.ones(ITEMS, np.bool_))
    moved = scorer.initial(USERS)
    for place in range(LONG):
        moved = scorer.step(moved, items[:, place], gaps[:, place])
        np.testing.assert_allclose(moved, states[:, place], atol=1e-4)
        np.testing.assert_allclose(scorer.score_states(moved), logits[:, place], atol=1e-4, rtol=1e-4)


@both
def test_a_query_is_its_steps(kind: CellKind, tied: bool) -> None:
    scorer, (items, gaps) = network(kind, tied).scorer(np.ones(ITEMS, np.bool_)), sequences()
    times = np.cumsum(gaps, axis=1) + 1_700_000_000_000
    lengths = [LONG, 0, 5, 1, 12, 7]
    queries = [Query(-1, items[u, :n], times[u, :n], 0, np.ones(n, np.float32)) for u, n in enumerate(lengths)]
    for query, n, u in zip(queries, lengths, range(USERS), strict=True):
        state = scorer.initial(1)
        for place in range(n):
            state = scorer.step(state, items[u : u + 1, place], gaps[u : u + 1, place])
        np.testing.assert_allclose(scorer.encode(query), state[0], atol=1e-6)
    np.testing.assert_allclose(scorer.score(queries), scorer.score_states(scorer.encode_all(queries)), atol=1e-6)


@both
def test_a_step_moves_only_known_items_and_leaves_its_arguments(kind: CellKind, tied: bool) -> None:
    scorer = network(kind, tied).scorer(np.ones(ITEMS, np.bool_))
    states = scorer.step(scorer.initial(3), np.array([1, 2, 3]), np.zeros(3, np.int64))
    before = states.copy()
    after = scorer.step(states, np.array([4, -1, ITEMS]), np.full(3, 60_000))
    np.testing.assert_array_equal(states, before)
    np.testing.assert_array_equal(after[1:], before[1:])
    assert np.abs(after[0] - before[0]).max() > 1e-3


@both
def test_the_gap_counts(kind: CellKind, tied: bool) -> None:
    scorer = network(kind, tied).scorer(np.ones(ITEMS, np.bool_))
    soon, late = scorer.step(scorer.initial(2), np.array([1, 1]), np.array([1000, 10**10]))
    assert np.abs(soon - late).max() > 1e-3


def test_items_that_were_never_taken_come_last() -> None:
    known = np.arange(ITEMS) < 30
    scores = network(GRU).scorer(known).score([Query.of([1, 2]), Query.of([])])
    assert scores[:, known].min() > scores[:, ~known].max()
    assert np.isfinite(scores).all()


def test_the_scan_is_the_loop() -> None:
    rng = np.random.default_rng(1)
    factors, terms = rng.random((2, 3, 11, 4)).astype(np.float32)
    found, state = np.asarray(scan(factors, terms)), np.zeros((3, 4), np.float32)
    for place in range(11):
        state = factors[:, place] * state + terms[:, place]
        np.testing.assert_allclose(found[:, place], state, rtol=1e-5, atol=1e-6)


def test_sampled_logits_are_those_of_all_items_less_the_expected_counts() -> None:
    model, (items, gaps) = network(MIN_GRU), sequences()
    inputs: dict[str, Any] = {"items": items.astype(np.int32), "gaps": gap_input(gaps)}
    every, targets, drawn = np.asarray(model(inputs)), items[:, ::-1].copy(), np.array([3, 7, 7, 0], np.int32)
    counts = np.array([0.1, -2, -2, 1], np.float32)
    sampled = np.asarray(model(inputs | {"targets": targets.astype(np.int32), "candidates": drawn, "log_counts": counts}))
    np.testing.assert_allclose(sampled[..., 0], np.take_along_axis(every, targets[..., None], 2)[..., 0], atol=1e-4)
    other = targets[..., None] != drawn
    np.testing.assert_allclose(sampled[..., 1:][other], (every[..., drawn] - counts)[other], atol=1e-4)
    assert (~other).any()
    assert (sampled[..., 1:][~other] < -1e8).all()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"kernel": np.zeros((12, 61), np.float32)}, "three for each number"),
        ({"recurrent": np.zeros((20, 59), np.float32)}, "'recurrent' has the shape"),
        ({"shift": np.zeros(5, np.float32)}, "'shift' has the shape"),
        ({"item_bias": np.zeros(5, np.float32)}, "'item_bias' has the shape"),
    ],
)
def test_arrays_that_do_not_fit_are_named(broken: dict[str, Any], said: str) -> None:
    scorer = network(GRU).scorer(np.ones(ITEMS, np.bool_))
    with pytest.raises(InvalidInput, match=said):
        load_scorer("recurrent", {**scorer.arrays(), **broken}, scorer.settings())


def test_what_is_missing_or_unknown_is_named() -> None:
    scorer = network(GRU).scorer(np.ones(ITEMS, np.bool_))
    arrays = dict(scorer.arrays())
    with pytest.raises(InvalidInput, match="'lstm' is not known; there are gru, min_gru"):
        load_scorer("recurrent", arrays, {"cell": "lstm", "tied": True})
    with pytest.raises(InvalidInput, match="setting 'tied' is missing"):
        load_scorer("recurrent", arrays, {"cell": "gru"})
    with pytest.raises(InvalidInput, match=r"kind 'oracle'; this version knows .*recurrent"):
        load_scorer("oracle", arrays, {})
    del arrays["gap"]
    with pytest.raises(InvalidInput, match="'gap' is missing"):
        load_scorer("recurrent", arrays, scorer.settings())


def test_a_tied_network_is_stored_once() -> None:
    tied = network(GRU, True).scorer(np.ones(ITEMS, np.bool_))
    back = load_scorer(tied.kind, tied.arrays(), tied.settings())
    assert isinstance(back, Recurrent)
    assert "inputs" not in tied.arrays()
    assert "inputs" in network(GRU, False).scorer(np.ones(ITEMS, np.bool_)).arrays()
    np.testing.assert_array_equal(back.encode(Query.of([1, 2, 3])), tied.encode(Query.of([1, 2, 3])))


def test_scorers_need_no_tensorflow() -> None:
    modules = "stream_workers.models.deep.loading, batch.datasets.streaming, batch.judging, batch.models.ease, ops.batch_cli"
    code = f"import sys, {modules}; print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
