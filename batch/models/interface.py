"""The one interface of batch models: fit on a log, judged on later time, published as a NumPy `Scorer`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

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


class Span(NamedTuple):
    """Values from `low` to `high`, whole ones if both are; `log`: each factor as likely as the next."""

    low: float
    high: float
    log: bool = False


class OneOf(NamedTuple):
    """One of these values."""

    options: tuple[int | float, ...]


Space = Mapping[str, Span | OneOf]
"""Which settings of a model are worth a search, and among which values."""


class Entries(NamedTuple):
    """What lies along one axis of an array: its k-th entry speaks of `names[k]`, the id of an item, a word, a category."""

    axis: int
    names: tuple[str, ...]


class Weights(NamedTuple):
    """What a training ended with, for a later one to begin with.

    Attributes:
        model: its name. last_ms: time of the newest event that had a part in it, also in early stopping.
        arrays: what was learnt, in the order of the network.
        entries: of each array what it speaks of; None: of nothing that comes and goes, so that it is taken over as it is.
    """

    model: str
    last_ms: int
    arrays: tuple[NDArray[Any], ...]
    entries: tuple[Entries | None, ...]


class Begun(NamedTuple):
    """Whether a training began with the weights it was given, and what of them, or why not, in words."""

    warm: bool
    note: str


class Answers(Protocol):
    """What can be asked: a `Scorer`, or something that asks one."""

    def score(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """See `Scorer.score`."""


Shuffles = Mapping[str, Callable[[np.random.Generator], Answers]]
"""Groups of a model's features, and what gives the trained model with the values of that group dealt out anew by a generator."""


class Watch(NamedTuple):
    """What a training begins with, how it tells what it does, and where it may leave its traces.

    Attributes:
        progress: told after every epoch.
        log: told each epoch's figures.
        checkpoint: path of a file that an interrupted training goes on from; None: it begins anew.
        start: weights of an earlier training; what it knew of items that are still there is taken over, the rest begins as usual.
            Weights of another shape are not used; a model that has no use for any trains as without.
        begun: told what became of `start`, by models that can use it.
        finished: told the weights in the end, by the same models.
        features: told the shuffles in the end, by models that have groups of features.
    """

    progress: Progress = lambda done, total: None
    log: Callable[[int, Epoch], None] = lambda number, epoch: None
    checkpoint: str | None = None
    start: Weights | None = None
    begun: Callable[[Begun], None] = lambda begun: None
    finished: Callable[[Weights], None] = lambda weights: None
    features: Callable[[Shuffles], None] = lambda shuffles: None


class BatchModel(ABC):
    """Something that learns from a whole log.

    Subclasses are frozen dataclasses: their fields are the hyper-parameters, with defaults that are good for films.
    """

    name: ClassVar[str]
    """As people type it: `freshet batch train NAME`."""
    space: ClassVar[Space] = MappingProxyType({})
    """What `freshet batch tune` searches, the defaults among it; empty for models that choose their settings in `fit`."""

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
