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
from stream_workers.models.deep.scorer import Scorer

Made = TypeVar("Made", bound=Scorer)


def as_numpy(values: Any) -> F32:
    """A copy of a variable or tensor of Keras as float32."""
    return np.array(keras.ops.convert_to_numpy(values), np.float32)


@dataclass(frozen=True)
class KerasModel(BatchModel):
    """A batch model that Keras trains.

    Attributes:
        batch: examples a step. rate: of Adam. epochs: passes at most. patience: passes without improvement before it stops.
    """

    batch: int = 512
    rate: float = 0.002
    epochs: int = 12
    patience: int = 2

    def identity(self, train: InteractionLog, seed: int) -> str:
        """What the weights depend on; a checkpoint of another training is refused by it."""
        return f"{self}, seed {seed}, {train.size} interactions"

    def trained(
        self, network: Any, batches: Batches, make: Callable[[], Made], logs: tuple[InteractionLog, InteractionLog], seed: int,
        watch: Watch,
    ) -> Made:  # fmt: skip
        """Train the network; the scorer that `make` gives of its weights is judged on the second log after each epoch.

        Args:
            network: compiled, with its weights. logs: the training log and the later one.

        Returns:
            The scorer of the best epoch's weights.
        """
        judge = later_quality(*logs, seed=seed)
        train_keras(
            network, batches, None if judge is None else lambda: judge(make()), epochs=self.epochs, patience=self.patience,
            watch=watch, identity=self.identity(logs[0], seed),
        )  # fmt: skip
        return make()
