"""The interface of what learns to order slates: fit on lists of inputs and clicks, then score lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

PADDING = -1.0
"""The label of a place without an item, as keras-rs has it."""


class Lists(NamedTuple):
    """S lists of at most W items.

    Attributes:
        inputs: float32[S, W, F]. labels: float32[S, W], 1 clicked, 0 not, `PADDING` where there is no item.
        offsets: float32[S, W], what is added to every score, learnt or not; None: nothing.
        places: int32[S, W], where each item stood, from 0: clicks that the place alone earned are explained by it, and it is not
            known when scores are asked for; None: not to be explained.
    """

    inputs: F32
    labels: F32
    offsets: F32 | None = None
    places: NDArray[np.int32] | None = None

    @property
    def shown(self) -> Bools:
        """Which places hold an item: bool[S, W]."""
        places: Bools = self.labels != PADDING
        return places

    def part(self, rows: I64 | Bools) -> Self:
        """Some of the lists."""
        offsets = None if self.offsets is None else self.offsets[rows]
        places = None if self.places is None else self.places[rows]
        return self._replace(inputs=self.inputs[rows], labels=self.labels[rows], offsets=offsets, places=places)

    def instructive(self) -> Self:
        """The lists in which some items were clicked and others were not; nothing else teaches an order."""
        return self.part((self.labels == 1).any(axis=1) & (self.labels == 0).any(axis=1))

    def only(self, columns: I64) -> Self:
        """The lists with some of the inputs."""
        return self._replace(inputs=self.inputs[:, :, columns])


class FittedSlates(NamedTuple):
    """What was learnt.

    Attributes:
        score: lists to float64[S, W], finite, higher is better; only the order within a list means anything.
        length: epochs or rounds that were learnt.
    """

    score: Callable[[Lists], F64]
    length: int


Judge = Callable[[F64], float]
"""From scores of the later lists to how good they are; higher is better."""


class SlateModel(ABC):
    """Something that learns to order lists. Subclasses are frozen dataclasses of their hyper-parameters."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As it stands in tables."""

    @abstractmethod
    def fit(self, lists: Lists, later: tuple[Lists, Judge], seed: int) -> FittedSlates:
        """Learn, and stop where the judge of the later lists likes it best; they are never learnt from.

        Raises:
            TrainingFailed: the loss or the scores were not finite.
        """

    @abstractmethod
    def refit(self, lists: Lists, length: int, seed: int) -> FittedSlates:
        """Learn for exactly `length` epochs or rounds, without looking at anything else."""
