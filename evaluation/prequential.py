"""The prequential replay: a bank of models predicts each question of a stream, then learns the event, at full speed without Kafka.

What runs here is `ModelBank.advance`, which also runs in the live worker; the protocol is that of `evaluation.protocol`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.protocol import is_in_time_order
from stream_workers.models.online.columns import Interactions, Outcome

CHUNK: Final = 2000
DEPTH: Final = 10
"""Places of a list that coverage, Gini and novelty look at."""

Progress = Callable[[int, int], None]


class Codes(Protocol):
    """Item ids as small integers."""

    def code(self, identifier: str) -> int:
        """The code of an id, -1 if it was never seen."""


class Bank(Protocol):
    """What the replay needs of a bank of models; `ModelBank` is one."""

    @property
    def names(self) -> tuple[str, ...]:
        """M models."""

    @property
    def items(self) -> Codes:
        """The codes that `Outcome.top` uses."""

    def advance(self, batch: Interactions, ranked: NDArray[np.bool_], models: Collection[str]) -> Outcome:
        """Predict (where ranked) by these models, then learn, event by event."""


class Record(NamedTuple):
    """What R questions were answered, in order; M models.

    Attributes:
        names: the models, columns of what follows.
        events: int64[R], which event of the stream each question is.
        times: int64[R], its event time, ms.
        ranks: int32[R, M]; 1 is best, 0: the item had never been seen.
        popularity: float32[R, M], mean all-time count of the top 10.
        reachable: bool[R], the target was among the candidates of the blend.
        history_length, item_count: int32[R], events of the user and of the item before.
        exposure: int64[M, items], how often each item stood in a top 10 after the warm-up, by item code.
        item_events: int64[items], events of each item at the end, by item code.
        items_seen: size of the catalogue at the last question.
        warm_up: questions of events before this number do not count.
        total: events in all, learnt from.
    """

    names: tuple[str, ...]
    events: NDArray[np.int64]
    times: NDArray[np.int64]
    ranks: NDArray[np.int32]
    popularity: NDArray[np.float32]
    reachable: NDArray[np.bool_]
    history_length: NDArray[np.int32]
    item_count: NDArray[np.int32]
    exposure: NDArray[np.int64]
    item_events: NDArray[np.int64]
    items_seen: int
    warm_up: int
    total: int

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which questions come after the warm-up, bool[R]."""
        return self.events >= self.warm_up

    def only(self, names: Sequence[str]) -> Record:
        """The record of some of the models, in this order."""
        columns = [self.names.index(name) for name in names]
        return self._replace(
            names=tuple(names),
            ranks=self.ranks[:, columns],
            popularity=self.popularity[:, columns],
            exposure=self.exposure[columns],
        )


def beside(one: Record, other: Record) -> Record:
    """One record of two of the same replay with different models.

    Raises:
        ValueError: they are not of the same questions.
    """
    if not (np.array_equal(one.events, other.events) and np.array_equal(one.item_events, other.item_events)):
        raise ValueError("records of different replays")
    return one._replace(
        names=one.names + other.names,
        ranks=np.hstack((one.ranks, other.ranks)),
        popularity=np.hstack((one.popularity, other.popularity)),
        exposure=np.vstack((one.exposure, other.exposure)),
    )


def replay(
    bank: Bank,
    batch: Interactions,
    ranked: NDArray[np.bool_],
    warm_up: int,
    models: Collection[str] | None = None,
    chunk: int = CHUNK,
    progress: Progress = lambda done, total: None,
) -> Record:
    """Let the bank predict and learn the whole stream.

    Args:
        batch: E events in time order.
        ranked: bool[E], which events are questions; see `protocol.questions`.
        warm_up: number of the first event that counts.
        models: which to rank by; None for all. The others have rank 0 everywhere.
        chunk: events handed over at a time; the outcome does not depend on it.
        progress: is told (events done, E) after each chunk.

    Raises:
        ValueError: the events are not in time order.
    """
    if not is_in_time_order(batch):
        raise ValueError("the events are not in time order; see protocol.in_time_order")
    total = len(batch.users)
    outcomes: list[Outcome] = []
    exposure, item_events = _Exposure(len(bank.names)), np.zeros(0, np.int64)
    for begun in range(0, total, chunk):
        end = min(begun + chunk, total)
        part = batch.part(begun, end)
        outcome = bank.advance(part, ranked[begun:end], bank.names if models is None else models)
        outcome = outcome._replace(events=outcome.events + begun)
        if len(outcome.moved):  # items were forgotten, the others have new codes
            exposure.move(outcome.moved)
            item_events = _moved_counts(item_events, outcome.moved)
        exposure.add(outcome, warm_up)
        item_events = _counted_in(item_events, np.array([bank.items.code(item) for item in part.items], np.int32))
        outcomes.append(outcome._replace(top=outcome.top[:0]))  # the lists themselves would fill the memory
        progress(end, total)
    return _record(bank.names, batch, outcomes, exposure, item_events, warm_up)


class _Exposure:
    """Counts how often each item is among the first places of each model's lists."""

    def __init__(self, models: int) -> None:
        self.counts = np.zeros((models, 0), np.int64)

    def add(self, outcome: Outcome, warm_up: int) -> None:
        """Count the questions after the warm-up."""
        top = outcome.top[outcome.events >= warm_up, :, :DEPTH]
        counts = self.widened(int(top.max(initial=-1)) + 1)
        self.counts = np.stack([_counted_in(row, top[:, m].ravel()) for m, row in enumerate(counts)])

    def move(self, moved: NDArray[np.int32]) -> None:
        """Give the counts new codes, see `Outcome.moved`."""
        self.counts = np.stack([_moved_counts(row, moved) for row in self.counts])

    def widened(self, items: int) -> NDArray[np.int64]:
        """The counts, for at least so many items."""
        return np.pad(self.counts, ((0, 0), (0, max(0, items - self.counts.shape[1]))))


def _counted_in(counts: NDArray[np.int64], codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Counts by code with some more codes (-1: none), int64[at least as many]."""
    more = np.bincount(codes[codes >= 0], minlength=len(counts)).astype(np.int64)
    more[: len(counts)] += counts
    return more


def _moved_counts(counts: NDArray[np.int64], moved: NDArray[np.int32]) -> NDArray[np.int64]:
    """Counts by code after a move; those of what was forgotten are gone."""
    codes = moved[: len(counts)]
    found = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
    found[codes[codes >= 0]] = counts[: len(codes)][codes >= 0]
    return found


def _record(
    names: tuple[str, ...],
    batch: Interactions,
    outcomes: Sequence[Outcome],
    exposure: _Exposure,
    item_events: NDArray[np.int64],
    warm_up: int,
) -> Record:
    events = _joined([outcome.events for outcome in outcomes], np.int64)
    items_seen = max((int(outcome.items_seen.max(initial=0)) for outcome in outcomes), default=0)
    width = max(items_seen, len(item_events), exposure.counts.shape[1])
    return Record(
        names=names,
        events=events,
        times=batch.timestamps[events],
        ranks=_joined([outcome.ranks for outcome in outcomes], np.int32, len(names)),
        popularity=_joined([outcome.top_popularity for outcome in outcomes], np.float32, len(names)),
        reachable=_joined([outcome.reachable for outcome in outcomes], np.bool_),
        history_length=_joined([outcome.history_length for outcome in outcomes], np.int32),
        item_count=_joined([outcome.item_count for outcome in outcomes], np.int32),
        exposure=exposure.widened(width),
        item_events=np.pad(item_events, (0, width - len(item_events))),
        items_seen=items_seen,
        warm_up=warm_up,
        total=len(batch.users),
    )


def _joined(parts: Sequence[NDArray[Any]], kind: type[np.generic], *shape: int) -> NDArray[Any]:
    """The parts one after the other; [0, *shape] where there are none."""
    return np.concatenate([np.zeros((0, *shape), kind), *parts]).astype(kind)
