"""Room for more items, users and events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.event_log import EventLog
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.world import World, new_world

_RING = ("item", "user", "time", "weight", "prev_user", "next_user", "prev_item")


def next_capacity(capacity: int, needed: int) -> int:
    """The capacity, doubled until it is enough."""
    while capacity < needed:
        capacity *= 2
    return capacity


def grown_world(world: World, settings: BankSettings, items: int, users: int, events: int, features: int) -> World:
    """The same world with more room."""
    larger = new_world(settings, items, users, events, features)
    for group, part in world._asdict().items():
        target = getattr(larger, group)
        if isinstance(part, np.ndarray):
            target[:] = part
            continue
        for name, array in part._asdict().items():
            if group != "log" or name not in _RING:
                _copy(array, getattr(target, name))
    _copy_ring(world.log, larger.log)
    return larger


def _copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    target[tuple(slice(0, size) for size in source.shape)] = source


def _copy_ring(source: EventLog, target: EventLog) -> None:
    total, places = int(source.total[0]), len(source.item)
    events = np.arange(max(0, total - places), total)
    for name in _RING:
        getattr(target, name)[events & (len(target.item) - 1)] = getattr(source, name)[events & (places - 1)]
