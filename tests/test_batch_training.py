"""The training loop: resumes where it was killed, stops early, lets no NaN out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from batch.models.interface import Epoch, TrainingFailed, Watch
from batch.models.training import begin, train_keras
from schemas.errors import InvalidInput

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(50, 4)).astype(np.float32)
TARGETS = INPUTS.sum(axis=1, keepdims=True)


def small(rate: float = 0.01, width: int = 6) -> Any:
    begin(11)
    layers = [keras.Input((4,)), keras.layers.Dense(width), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model


def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
    order = np.random.default_rng([4, epoch]).permutation(len(INPUTS))
    for start in range(0, len(order), 20):
        rows = order[start : start + 20]
        yield INPUTS[rows], TARGETS[rows]


def told(*values: float) -> Callable[[], float]:
    """A judge that says these values, one after the other."""
    return iter(values).__next__


def weights(model: Any) -> list[Any]:
    return [np.array(weight) for weight in model.get_weights()]


class Killed(BaseException):
    """Stands for the kill."""


def test_a_killed_training_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = small()
    history = train_keras(whole, batches, told(0.1, 0.3, 0.2, 0.25), epochs=4, patience=9)
    saved, seen = str(tmp_path / "model.npz"), list[int]()

    def note(number: int, epoch: Epoch) -> None:
        seen.append(number)
        if seen == [0, 1, 2]:
            raise Killed  # in the third epoch, before it is saved

    with pytest.raises(Killed):
        train_keras(small(), batches, told(0.1, 0.3, 0.2), epochs=4, patience=9, watch=Watch(log=note, checkpoint=saved))
    resumed = small()
    again = train_keras(resumed, batches, told(0.2, 0.25), epochs=4, patience=9, watch=Watch(log=note, checkpoint=saved))
    assert seen == [0, 1, 2, 2, 3]
    assert again == history
    assert history.best == 1
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_best_weights_are_kept_and_patience_ends_it() -> None:
    model, kept = small(), list[list[Any]]()
    values = iter([0.1, 0.5, 0.4, 0.3, 0.9])

    def judge() -> float:
        kept.append(weights(model))
        return next(values)

    history = train_keras(model, batches, judge, epochs=9, patience=2)
    assert [epoch.validation for epoch in history.epochs] == [0.1, 0.5, 0.4, 0.3]
    assert history.best == 1
    for now, best in zip(weights(model), kept[1], strict=True):
        np.testing.assert_array_equal(now, best)


def test_nothing_to_judge_on_trains_every_epoch_and_keeps_the_last() -> None:
    model = small()
    history = train_keras(model, batches, None, epochs=3, patience=1)
    assert (len(history.epochs), history.best) == (3, 2)


def test_the_loss_is_the_mean_over_rows() -> None:
    model = small(rate=0.0)
    model.layers[1].rate = 0.0
    history = train_keras(model, batches, None, epochs=1, patience=1)
    assert history.epochs[0].loss == pytest.approx(float(np.mean((np.asarray(model(INPUTS)) - TARGETS) ** 2)), rel=1e-5)


def test_a_loss_that_is_not_finite_fails() -> None:
    def poisoned(epoch: int) -> Iterator[tuple[Any, Any]]:
        yield INPUTS, np.where(np.arange(50)[:, None] == 7, np.nan, TARGETS)

    with pytest.raises(TrainingFailed, match="epoch 1, batch 1: loss nan"):
        train_keras(small(), poisoned, None, epochs=2, patience=1)
    with pytest.raises(TrainingFailed, match="judgement is nan"):
        train_keras(small(), batches, told(float("nan")), epochs=2, patience=1)


def test_a_checkpoint_of_another_training_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    watch = Watch(checkpoint=str(path))
    train_keras(small(), batches, None, epochs=1, patience=1, watch=watch, identity="seed 1")
    kept = path.read_bytes()
    with pytest.raises(InvalidInput, match=r"of another training \(seed 1, not seed 2\)"):
        train_keras(small(), batches, None, epochs=2, patience=1, watch=watch, identity="seed 2")
    with pytest.raises(InvalidInput, match="do not fit this model"):
        train_keras(small(width=5), batches, None, epochs=2, patience=1, watch=watch, identity="seed 1")
    assert path.read_bytes() == kept


@pytest.mark.parametrize("text", [b"", b"PK\x03\x04 broken", b"not an archive"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(text)
    with pytest.raises(InvalidInput, match="cannot be read"):
        train_keras(small(), batches, None, epochs=1, patience=1, watch=Watch(checkpoint=str(path)))


def test_no_batches_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no batch"):
        train_keras(small(), lambda epoch: iter(()), None, epochs=1, patience=1)
