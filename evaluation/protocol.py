"""The fixed protocol of the prequential evaluation: the order of events, which of them are questions, and from when on they count.

Before learning from (user, item) every model ranks all items seen so far. Mode A leaves out what the user already had, and an event
whose item the user already had is no question; mode B allows repeats. Items never seen before are misses, ties count against. The
mean is taken over the questions after the first 20 % of the events. (Predict, then learn: Dawid, JRSS A 1984; for recommenders:
Vinagre, Jorge and Gama, 2014.)
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.columns import Interactions

Mode = Literal["A", "B"]
WARM_UP: Final = 0.2
"""Share of the events at the beginning that is learnt from but not counted; hyper-parameters may be chosen on it."""


def warm_up_events(events: int) -> int:
    """How many of the events are the warm-up.

    >>> warm_up_events(100_000)
    20000
    """
    return int(events * WARM_UP)


def taken_in_order(batch: Interactions, order: NDArray[np.int64]) -> Interactions:
    """The events with these numbers, in this order."""
    numbers = order.tolist()
    return Interactions._make(_taken(column, order, numbers) for column in batch)


def _taken(column: Any, order: NDArray[np.int64], numbers: list[int]) -> Any:
    return column[order] if isinstance(column, np.ndarray) else [column[number] for number in numbers]


def in_time_order(batch: Interactions) -> Interactions:
    """The events by time; those of one moment keep their order."""
    if is_in_time_order(batch):
        return batch
    return taken_in_order(batch, np.argsort(batch.timestamps, kind="stable"))


def is_in_time_order(batch: Interactions) -> bool:
    """Whether no event is older than the one before it."""
    return bool(np.all(batch.timestamps[1:] >= batch.timestamps[:-1]))


def questions(batch: Interactions, mode: Mode) -> NDArray[np.bool_]:
    """Which events are asked about, bool[E]: those that speak for their item, in mode A only the user's first with it.

    Taking back an earlier event, disliking and hiding are learnt from, but nobody is asked to predict them.

    Args:
        batch: E events in time order.
    """
    positive: NDArray[np.bool_] = batch.weights > 0
    return positive if mode == "B" else positive & _first_of_pair(batch)


def _first_of_pair(batch: Interactions) -> NDArray[np.bool_]:
    """Whether no earlier event has the same user and item, bool[E]."""
    first = np.zeros(len(batch.users), np.bool_)
    numbers = {pair: at for at, pair in reversed(list(enumerate(zip(batch.users, batch.items, strict=True))))}
    first[list(numbers.values())] = True
    return first
