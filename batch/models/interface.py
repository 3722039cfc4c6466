"""The one interface of batch models: fit on a log, judged on later time, published as a NumPy `Scorer`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import InteractionLog
from schemas.errors import FreshetError
from stream_workers.models.deep.scorer import Query, Scorer

Progress = Callable[[int, int], None]
"""Is told (epochs or steps done, in all)."""


class TrainingFailed(FreshetError):
    """Training gave something that must not be published: a loss or weights that are not finite."""


class Epoch(NamedTuple):
    """One pass: the loss on the training log, and the measure of early stopping on the later log (higher is better)."""

    loss: float
    validation: float


class Watch(NamedTuple):
    """How training tells what it does, and where it may leave its traces.

    Attributes:
        progress: told after every epoch.
        log: told each epoch's figures and the weights by name, for TensorBoard.
        checkpoint: path of a `.keras` or `.weights.h5` file that an interrupted training goes on from; None: it begins anew.
    """

    progress: Progress = lambda done, total: None
    log: Callable[[int, Epoch], None] = lambda number, epoch: None
    checkpoint: str | None = None


class BatchModel(ABC):
    """Something that learns from a whole log.

    Subclasses are frozen dataclasses: their fields are the hyper-parameters, with defaults that are good for films.
    """

    name: ClassVar[str]
    """As people type it: `freshet batch train NAME`."""

    @abstractmethod
    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> Scorer:  # noqa: B008
        """Learn from `train`; stop early by the quality on `later`, which comes after it and is never learnt from.

        Nothing of the arguments is changed; the same seed gives the same model on the same machine.

        Raises:
            InvalidInput: a log from which this model cannot learn (empty, one item), with what it needs.
            TrainingFailed: the loss was not finite.
        """


def queries_of(log: InteractionLog, users: Sequence[int], now: int, longest: int = 100) -> list[Query]:
    """What `log` knows of these users at the moment `now`: their newest `longest` interactions, oldest first."""
    order = np.argsort(log.users, kind="stable")
    starts = np.searchsorted(log.users[order], users, side="left")
    ends = np.searchsorted(log.users[order], users, side="right")
    found = (order[max(start, end - longest) : end] for start, end in zip(starts, ends, strict=True))
    return [_query(log, user, at, now) for user, at in zip(users, found, strict=True)]


def _query(log: InteractionLog, user: int, at: NDArray[np.int64], now: int) -> Query:
    weights = np.where(np.isnan(log.ratings[at]), np.float32(1), log.ratings[at])
    return Query(int(user), log.items[at], log.timestamps[at], now, weights)
