"""The one training loop of the Keras models: early stopping on later time, resumable after a kill, no NaN gets out."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from batch.models.interface import Epoch, TrainingFailed, Watch
from schemas.errors import InvalidInput

Batches = Callable[[int], Iterable[tuple[Any, ...]]]
"""The batches of epoch n (from 0), the same ones each time: `(inputs, targets)` or `(inputs, targets, weights)`."""

_WEIGHTS: Final = "weights"
_OPTIMIZER: Final = "optimizer"
_BEST: Final = "best"


class History(NamedTuple):
    """What a training did.

    Attributes:
        epochs: one entry a pass, also those of before an interruption.
        best: which of them gave the weights that the model has now.
    """

    epochs: tuple[Epoch, ...]
    best: int


def begin(seed: int) -> None:
    """Make what Keras does from here on a function of `seed`; call it before the first layer is made.

    The same seed gives the same weights on the same machine. On a GPU layers compute in bfloat16 and keep float32 weights.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        _deterministic_tensorflow()


def _deterministic_tensorflow() -> None:
    import tensorflow as tf  # noqa: PLC0415 - other backends of Keras do without

    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy("mixed_bfloat16" if tf.config.list_physical_devices("GPU") else "float32")


def train_keras(
    model: Any,
    batches: Batches,
    judge: Callable[[], float] | None,
    *,
    epochs: int,
    patience: int,
    watch: Watch = Watch(),  # noqa: B008 - never changed
    identity: str = "",
) -> History:
    """Train a compiled and built Keras model; afterwards it has the weights of its best epoch.

    After every epoch `judge` says how good the model is now on later time; after `patience` epochs without a better value, or
    after `epochs` in all, training ends. With `watch.checkpoint` everything (weights, optimizer, dice of dropout, the best
    weights so far, the figures) is saved after each epoch, and a training that finds such a file goes on behind its last epoch:
    it ends with the same weights as one that was never interrupted.

    Args:
        model: `keras.Model`, compiled; its variables exist (a functional model, or a subclass that was called once).
        batches: the batches of an epoch by its number. Shuffle them with a generator seeded by (seed, epoch).
        judge: higher is better, finite; None: there is nothing to judge on, all epochs are trained and the last one is kept.
        epochs: passes at most, at least 1.
        patience: epochs without an improvement after which it ends, at least 1.
        identity: what the weights depend on (name, hyper-parameters, seed, size of the log); a checkpoint of another is refused.

    Raises:
        InvalidInput: a checkpoint of another training, a damaged one, or no batches.
        TrainingFailed: the loss or the judgement was not finite.
    """
    run = _Run(model, judge, patience, watch, identity)
    if watch.checkpoint is not None and Path(watch.checkpoint).exists():
        run.restore(Path(watch.checkpoint))
    while len(run.done) < epochs and not run.exhausted:
        run.pass_over(batches(len(run.done)))
        watch.progress(len(run.done), epochs)
    return run.finish()


class _Run:
    """A training between two epochs."""

    def __init__(self, model: Any, judge: Callable[[], float] | None, patience: int, watch: Watch, identity: str) -> None:
        model.optimizer.build(model.trainable_variables)
        self._model, self._judge, self._patience, self._watch, self._identity = model, judge, patience, watch, identity
        self.done: list[Epoch] = []
        self._best = 0
        self._best_weights = _values(model.variables)

    @property
    def exhausted(self) -> bool:
        """Whether `patience` epochs have passed since the best one."""
        return self._judge is not None and len(self.done) - 1 - self._best >= self._patience

    def pass_over(self, batches: Iterable[tuple[Any, ...]]) -> None:
        """One epoch: learn, judge, keep the best, save."""
        loss = self._learn(batches)
        validation = -loss if self._judge is None else self._judge()
        if not math.isfinite(validation):
            raise TrainingFailed(f"epoch {len(self.done) + 1}: the judgement is {validation}; the weights are of no use")
        epoch = Epoch(loss, validation)
        if not self.done or self._judge is None or epoch.validation > self.done[self._best].validation:
            self._best, self._best_weights = len(self.done), _values(self._model.variables)
        self.done.append(epoch)
        self._watch.log(len(self.done) - 1, epoch)
        if self._watch.checkpoint is not None:
            self._save(Path(self._watch.checkpoint))

    def _learn(self, batches: Iterable[tuple[Any, ...]]) -> float:
        """The mean loss of a pass, each batch by its rows."""
        total, rows = 0.0, 0
        for number, batch in enumerate(batches):
            loss = float(self._model.train_on_batch(*batch, return_dict=True)["loss"])
            if not math.isfinite(loss):
                raise TrainingFailed(f"epoch {len(self.done) + 1}, batch {number + 1}: loss {loss}; try a lower learning rate")
            size = len(keras.tree.flatten(batch[0])[0])
            total, rows = total + loss * size, rows + size
        if not rows:
            raise InvalidInput("there is no batch to learn from; the log is too small for this model")
        return total / rows

    def finish(self) -> History:
        """Give the model the weights of its best epoch."""
        _assign(self._model.variables, self._best_weights)
        return History(tuple(self.done), self._best)

    def _save(self, path: Path) -> None:
        """Beside the old checkpoint first, then in its place: a kill leaves one of the two whole."""
        groups = {
            _WEIGHTS: _values(self._model.variables),
            _OPTIMIZER: _values(self._model.optimizer.variables),
            _BEST: self._best_weights,
        }
        arrays: dict[str, Any] = {f"{group}/{at}": value for group, values in groups.items() for at, value in enumerate(values)}
        beside = path.with_name(path.name + ".new")
        with beside.open("wb") as file:
            np.savez(file, epochs=np.array(self.done), best_epoch=self._best, identity=np.array(self._identity), **arrays)
        beside.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                found = {name: saved[name] for name in saved.files}
            identity = str(found["identity"])
            self.done, self._best = [Epoch(*map(float, row)) for row in found["epochs"]], int(found["best_epoch"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InvalidInput(f"checkpoint {path} cannot be read: {error}; remove it to begin anew") from error
        if identity != self._identity:
            raise InvalidInput(f"checkpoint {path} is of another training ({identity}, not {self._identity}); remove it")
        _assign(self._model.variables, _group(path, found, _WEIGHTS, self._model.variables))
        _assign(self._model.optimizer.variables, _group(path, found, _OPTIMIZER, self._model.optimizer.variables))
        self._best_weights = _group(path, found, _BEST, self._model.variables)


def _values(variables: Iterable[Any]) -> list[NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable.value) for variable in variables]


def _assign(variables: Iterable[Any], values: Iterable[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _group(path: Path, found: dict[str, NDArray[Any]], group: str, variables: list[Any]) -> list[NDArray[Any]]:
    """The saved values of these variables, if they fit."""
    values = [found.get(f"{group}/{at}") for at in range(len(variables))]
    shapes = [tuple(variable.shape) for variable in variables]
    fitting = [value for value, shape in zip(values, shapes, strict=True) if value is not None and value.shape == shape]
    if len(fitting) != len(shapes):
        raise InvalidInput(f"checkpoint {path}: its {group} do not fit this model; remove it to begin anew")
    return fitting
