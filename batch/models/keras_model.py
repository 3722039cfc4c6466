"""What the deep models here have in common: a network, its training steps, and a scorer made of what it has learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import numpy as np

from batch.datasets.interactions import F32, InteractionLog
from batch.models.interface import BatchModel, Watch
from batch.models.later_quality import later_quality
from batch.models.training import Batches, train_keras
from batch.models.warm_start import Speaks, begin_with, weights_of
from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import Scorer

Made = TypeVar("Made", bound=Scorer)


def as_numpy(values: Any) -> F32:
    """A copy of a variable or tensor of Keras as float32."""
    return np.array(keras.ops.convert_to_numpy(values), np.float32)


@dataclass(frozen=True, kw_only=True)
class KerasModel(BatchModel):
    """A batch model that Keras trains; subclasses add their own settings and give other defaults to these.

    Attributes:
        batch: examples a step. rate: of Adam. epochs: passes at most. patience: passes without improvement before it stops.
    """

    batch: int = 512
    rate: float = 0.002
    epochs: int = 12
    patience: int = 2

    def __post_init__(self) -> None:
        wrong = [f"{name}={value}" for name, value in vars(self).items() if isinstance(value, int | float) and value < 0]
        wrong += [f"{name}=0" for name in ("batch", "rate", "epochs", "patience") if not getattr(self, name)]
        if wrong:
            raise InvalidInput(f"{self.name}: {', '.join(wrong)}: expected nothing below 0, and a batch, rate, epochs and patience")

    def trained(
        self, network: Any, batches: Batches, make: Callable[[], Made], logs: tuple[InteractionLog, InteractionLog], seed: int,
        watch: Watch, speaks: Speaks, quality: Callable[[Made], float] | None = None,
    ) -> Made:  # fmt: skip
        """Train the network, from `watch.start` if that fits; what `make` gives of its weights is judged after each epoch.

        Args:
            network: compiled, with its weights. logs: the training log and the later one.
            speaks: which of its variables speak of items, words and the like; see `warm_start`.
            quality: higher is better; None: how well the second log is ranked, see `later_quality`.

        Returns:
            The scorer of the best epoch's weights.
        """
        train, later = logs
        if watch.start is not None:
            watch.begun(begin_with(watch.start, network, speaks, self.name))
        judge = quality or later_quality(train, later, seed=seed)
        identity = f"{self}, seed {seed}, {train.size} interactions"
        train_keras(
            network, batches, None if judge is None else lambda: judge(make()), epochs=self.epochs, patience=self.patience,
            watch=watch, identity=identity if watch.start is None else f"{identity}, from weights of {watch.start.last_ms}",
        )  # fmt: skip
        watch.finished(weights_of(network, speaks, self.name, int(max(log.timestamps[-1] for log in logs if log.size))))
        return make()
