"""Room for more items, users and events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self, TypeVar

import numpy as np

from schemas.errors import InvalidSettings
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.event_log import EventLog
from stream_workers.models.online.flat import Tree, leaves
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.settings import BankSettings

_RING = ("item", "user", "time", "weight", "log_prior", "prev_user", "next_user", "prev_item")
_FIRST_ROWS, _FIRST_EVENTS = 1024, 8192
T = TypeVar("T", bound=Tree)


def next_capacity(capacity: int, needed: int, most: int) -> int:
    """The capacity, doubled until it is enough, but no more than `most`; it never becomes less."""
    wanted = capacity
    while wanted < min(needed, most):
        wanted *= 2
    return max(capacity, min(wanted, most))


class Room(NamedTuple):
    """For how many items, users and events arrays are made."""

    items: int
    users: int
    events: int

    @classmethod
    def at_first(cls, settings: BankSettings) -> Self:
        """That of a new model."""
        return cls(
            min(_FIRST_ROWS, settings.max_items), min(_FIRST_ROWS, settings.max_users), min(_FIRST_EVENTS, settings.max_events)
        )

    @classmethod
    def of(cls, log: EventLog) -> Self:
        """That of a log."""
        return cls(len(log.item_last), len(log.user_last), len(log.item))

    def enough(self, settings: BankSettings, items: int, users: int, events: int) -> Room:
        """This room, or more, for so many: at most what the settings allow."""
        return Room(
            next_capacity(self.items, items, settings.max_items),
            next_capacity(self.users, users, settings.max_users),
            next_capacity(self.events, events, settings.max_events),
        )


def events_with_room(batch: Interactions, start: int, items: IdTable, users: IdTable, settings: BankSettings) -> int:
    """The first event from `start` on that has an item or a user too many; the number of events if none has."""
    return min(
        _until_full(items, batch.items, start, settings.max_items), _until_full(users, batch.users, start, settings.max_users)
    )


def _until_full(table: IdTable, ids: Sequence[str], start: int, bound: int) -> int:
    """The first place from `start` on whose id the table has no room for; the number of ids if it has."""
    room = bound - len(table)
    if room >= len(ids) - start:
        return len(ids)
    new: set[str] = set()
    for at in range(start, len(ids)):
        if table.code(ids[at]) < 0:
            new.add(ids[at])
            if len(new) > room:
                return at
    return len(ids)


def check_bounds(settings: BankSettings) -> None:
    """The bounds on memory must be bounds.

    Raises:
        InvalidSettings: no room for one item or user, or a number of events that is no power of two.
    """
    for name in ("max_items", "max_users"):
        if getattr(settings, name) < 2:
            raise InvalidSettings(f"model setting {name}={getattr(settings, name)}: expected 2 or more")
    if settings.max_events < 1 or settings.max_events & (settings.max_events - 1):
        raise InvalidSettings(f"model setting max_events={settings.max_events}: expected a power of two")


def grown(tree: T, larger: T) -> T:
    """`larger`, an empty tree of the same kind with more room, after everything was copied into it."""
    source: EventLog = tree._asdict()["log"]
    target: EventLog = larger._asdict()["log"]
    ring = {f"log.{name}" for name in _RING}
    targets = dict(leaves(larger))
    for name, array in leaves(tree):
        if name not in ring:
            targets[name][tuple(slice(0, size) for size in array.shape)] = array
    _copy_ring(source, target)
    return larger


def _copy_ring(source: EventLog, target: EventLog) -> None:
    total, places = int(source.total[0]), len(source.item)
    events = np.arange(max(0, total - places), total)
    for name in _RING:
        getattr(target, name)[events & (len(target.item) - 1)] = getattr(source, name)[events & (places - 1)]
