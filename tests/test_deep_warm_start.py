"""A training that begins with weights of an earlier one: what both know is taken over by name, and what does not fit is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow

from batch.datasets.interactions import Catalogue, InteractionLog
from batch.models.autoencoders import MultDAE, MultVAE
from batch.models.autorec import AutoRec
from batch.models.interface import Begun, Entries, Epoch, Watch, Weights
from batch.models.item2vec import Item2Vec
from batch.models.keras_model import KerasModel
from batch.models.linear_recurrence import LinearRecurrence
from batch.models.neumf import NeuMF
from batch.models.session_rnn import SessionRnn
from batch.models.two_tower import TwoTower
from batch.models.wide_deep import WideDeep
from batch.weights import keep_weights, read_weights, weights_path, write_weights
from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import Scorer
from tests.deep_world import clustered, rated

SMALL: dict[str, KerasModel] = {
    "two_tower": TwoTower(width=16, longest=5, batch=64, uniform=16, epochs=4, rate=0.01),
    "item2vec": Item2Vec(width=16, epochs=4, batch=256, rate=0.02, threshold=1.0),
    "mult_dae": MultDAE(width=16, epochs=4, rate=0.02, every=2, batch=32),
    "mult_vae": MultVAE(width=16, latent=8, epochs=4, rate=0.02, every=2, batch=32),
    "autorec": AutoRec(width=16, epochs=4, rate=0.02, batch=8),
    "neumf": NeuMF(width=16, hidden=16, batch=64, uniform=16, epochs=4, rate=0.01),
    "wide_deep": WideDeep(width=16, buckets=1 << 10, epochs=3, batch=64, negatives=8, rate=0.01),
    "session_rnn": SessionRnn(size=16, hidden=16, window=8, stride=8, epochs=4, batch=16, rate=0.02),
    "linear_recurrence": LinearRecurrence(size=16, hidden=16, window=8, stride=8, epochs=4, batch=16, rate=0.02),
}
each_model = pytest.mark.parametrize("name", SMALL)


class Told(NamedTuple):
    """What a training gave and told."""

    scorer: Scorer
    epochs: list[Epoch]
    begun: list[Begun]
    weights: Weights


@pytest.fixture(scope="module", autouse=True)
def _without_graphs() -> Iterator[None]:
    """Compiling a graph takes longer than these few steps."""
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


def logs_of(name: str) -> tuple[InteractionLog, InteractionLog]:
    return rated(24) if name == "autorec" else clustered(people=24, each=8)


def trained(model: KerasModel, logs: tuple[InteractionLog, InteractionLog], start: Weights | None = None) -> Told:
    epochs, begun, weights = list[Epoch](), list[Begun](), list[Weights]()
    watch = Watch(log=lambda number, epoch: epochs.append(epoch), start=start, begun=begun.append, finished=weights.append)
    return Told(model.fit(*logs, seed=3, watch=watch), epochs, begun, weights[0])


@pytest.fixture(scope="module")
def first() -> dict[str, Told]:
    """Each model trained from scratch."""
    return {name: trained(model, logs_of(name)) for name, model in SMALL.items()}


def turned(log: InteractionLog) -> InteractionLog:
    """The same log with the items in another order, and a new item before them all."""
    size = log.catalogue.size
    order = np.concatenate(([size], np.arange(size)[::-1]))
    old = log.catalogue
    wide = Catalogue((*old.ids, "brand new"), (*old.titles, ""), (*old.categories, ()), (*old.tags, ()),
                     np.append(old.years, np.float32(np.nan)), np.append(old.first_seen, 0))  # fmt: skip
    columns: list[Any] = [tuple(column[at] for at in order) for column in wide[:4]]
    place = np.argsort(order)
    return log._replace(items=place[log.items], catalogue=Catalogue(*columns, wide.years[order], wide.first_seen[order]))


def frozen(model: KerasModel) -> KerasModel:
    """Steps so small that nothing is learnt: what it gives is what it began with."""
    return replace(model, epochs=1, rate=1e-12)


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"wide_deep"}))  # whose crosses begin anew
def test_it_begins_where_the_earlier_one_ended(first: dict[str, Told], name: str) -> None:
    again = trained(frozen(SMALL[name]), logs_of(name), first[name].weights)
    assert again.begun[0].warm, again.begun
    assert again.epochs[0].validation == pytest.approx(max(epoch.validation for epoch in first[name].epochs), rel=0.01)
    assert not first[name].begun


@each_model
def test_items_keep_their_vectors_in_another_catalogue(first: dict[str, Told], name: str) -> None:
    train, later = (turned(log) for log in logs_of(name))
    moved = trained(frozen(SMALL[name]), (train, later), first[name].weights)
    assert moved.begun[0].warm
    before, ids = first[name].weights, set(logs_of(name)[0].catalogue.ids)
    of_items = [at for at, entries in enumerate(before.entries) if entries is not None and ids & set(entries.names)]
    assert of_items
    for at in of_items:
        old, new = (_rows(told.weights, at) for told in (first[name], moved))
        assert old.keys() <= new.keys()
        for item, vector in old.items():
            np.testing.assert_allclose(new[item], vector, atol=1e-6)


def _rows(weights: Weights, at: int) -> dict[str, Any]:
    entries = weights.entries[at]
    assert entries is not None
    return dict(zip(entries.names, np.moveaxis(weights.arrays[at], entries.axis, 0), strict=True))


@pytest.mark.parametrize("name", ["mult_dae", "session_rnn"])
def test_it_needs_fewer_epochs_to_the_same_quality(first: dict[str, Told], name: str) -> None:
    wanted = 0.95 * max(epoch.validation for epoch in first[name].epochs)
    again = trained(replace(SMALL[name], epochs=1), logs_of(name), first[name].weights)
    assert first[name].epochs[0].validation < wanted <= again.epochs[0].validation


@pytest.mark.parametrize("name", ["mult_dae", "item2vec", "session_rnn"])
def test_weights_of_another_width_are_left_and_that_is_said(first: dict[str, Told], name: str) -> None:
    wider = replace(frozen(SMALL[name]), **{"size" if name == "session_rnn" else "width": 20})
    refused, scratch = trained(wider, logs_of(name), first[name].weights), trained(wider, logs_of(name))
    assert not refused.begun[0].warm
    assert "here it is" in refused.begun[0].note
    for one, other in zip(refused.weights.arrays, scratch.weights.arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_another_model_are_left() -> None:
    logs = clustered(people=9)
    dae = trained(frozen(SMALL["mult_dae"]), logs).weights
    assert trained(frozen(SMALL["mult_vae"]), logs, dae).begun == [Begun(False, "they are of mult_dae, not of mult_vae")]
    fewer = dae._replace(arrays=dae.arrays[:2], entries=dae.entries[:2])
    assert trained(frozen(SMALL["mult_dae"]), logs, fewer).begun == [Begun(False, "they are 2 arrays, this network has 4")]


def weights() -> Weights:
    arrays = (np.arange(6, dtype=np.float32).reshape(3, 2), np.ones(4, np.float32))
    return Weights("mult_dae", 1_700_000_000_000, arrays, (Entries(0, ("a", "電影", "")), None))


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    write_weights(path, weights())
    back = read_weights(path)
    assert back._replace(arrays=()) == weights()._replace(arrays=())
    for one, other in zip(back.arrays, weights().arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [one.name for one in tmp_path.iterdir()] == ["one.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"text"])
def test_a_file_that_is_damaged_or_missing_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one.npz"
    with pytest.raises(InvalidInput, match=r"no weights in .*one\.npz"):
        read_weights(path)
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"one\.npz cannot be read"):
        read_weights(path)
    write_weights(path, weights())
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InvalidInput, match=r"one\.npz cannot be read"):
        read_weights(path)


def test_weights_go_when_their_version_is_gone(tmp_path: Path) -> None:
    names = [f"20261123T01460{at}Z-b7b222" for at in range(3)]
    for name in names:
        (tmp_path / "mult_dae" / name).mkdir(parents=True)
        keep_weights(tmp_path, name, weights())
    (tmp_path / "mult_dae" / names[0]).rmdir()
    keep_weights(tmp_path, names[2], weights())
    assert [weights_path(tmp_path, "mult_dae", name).exists() for name in names] == [False, True, True]
