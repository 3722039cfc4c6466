"""What forgotten users did for items, as signals that take it back.

All that is known per item is the history: the newest events, in time order, with type and time. Replayed into an empty history by
the kernel that first took them in, they give the pairs they made. Their source is the place of the forgetting in `users`, so
the item stage takes each forgetting back once, however often it comes. Not known, and therefore left in the counts of items:
events older than the history, those that an undo took out of it, and pairs with either; events that came late made their pairs in
another order than the one replayed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.user_blob import TYPES
from schemas.topics import USERS
from stream_workers.handlers.fan_out import EVENTS_PER_MESSAGE, Pairs, SourceEvents, fan_out
from stream_workers.handlers.interner import Interner
from stream_workers.handlers.settings import ModelSettings
from stream_workers.models.history import as_type_weights, update_histories


class Forgetting(NamedTuple):
    """One forgotten user and their history, oldest event first.

    Attributes:
        offset: of the wish in `users`.
        items, types, timestamps: int64[n].
        beyond: events of the user that are not in the history.
    """

    offset: int
    items: NDArray[np.int64]
    types: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    beyond: int


def forgetting_of(offset: int, row: int, arrays: dict[str, Any]) -> Forgetting:
    """What the columns of the user stage hold of a user; before the row is cleared."""
    length = int(arrays["length"][row])
    items, types, times = (arrays[name][row, :length][::-1].astype(np.int64) for name in ("items", "types", "timestamps"))
    return Forgetting(offset, items, types, times, max(0, int(arrays["counts"][row].sum()) - length))


def inverse_signals(
    partition: int, forgettings: Sequence[Forgetting], items: Interner, settings: ModelSettings
) -> list[list[tuple[int, bytes]]]:
    """Messages for `item-signals` in waves, as of `fan_out`, that take the events of forgotten users back."""
    waves = []
    for group in _groups(forgettings):
        events, users = _joined(group)
        waves += fan_out(partition, events, _pairs(users, events, len(group), items, settings), items, settings)
    return waves


def _groups(forgettings: Sequence[Forgetting]) -> Iterator[list[Forgetting]]:
    """As many as fit into one message: all events of one forgetting have one offset, so a second message of it would be skipped."""
    group: list[Forgetting] = []
    for one in forgettings:
        if group and sum(len(other.items) for other in group) + len(one.items) > EVENTS_PER_MESSAGE:
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _joined(group: Sequence[Forgetting]) -> tuple[SourceEvents, NDArray[np.int64]]:
    """The events of all, and the number of the user of each."""
    sizes = [len(one.items) for one in group]
    offsets = np.repeat(np.array([one.offset for one in group], np.int64), sizes)
    items, types, times = (np.concatenate([getattr(one, name) for one in group]) for name in ("items", "types", "timestamps"))
    return SourceEvents(items, types, times, offsets, times, [USERS] * len(items)), np.repeat(np.arange(len(group)), sizes)


def _pairs(users: NDArray[np.int64], events: SourceEvents, count: int, items: Interner, settings: ModelSettings) -> Pairs:
    shape = (count, settings.history_length)
    nothing_undone = np.zeros(len(users), np.bool_)
    empty: Final = np.zeros(shape, np.int32), np.zeros(shape, np.uint8), np.zeros(shape, np.int64)
    made = update_histories(
        users, events.items, events.types, events.timestamps, nothing_undone, as_type_weights(settings.type_weights), items.order,
        settings.pair_depth, settings.pair_decay, *empty, np.zeros(count, np.int32), np.zeros((count, TYPES), np.uint32),
        np.zeros(count, np.int64),
    )  # fmt: skip
    return Pairs(*made)
