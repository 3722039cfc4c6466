"""Forgetting: what keeps the number of items and users within bounds, and a person out of the models.

Codes are dense, so forgetting some items gives those that stay new codes, in the old order; every array is closed up and every
place that holds codes is told. What an event of the log was about may then be gone: its code is -1, and kernels pass over it.
Which arrays have a row per item or per user is found by comparing empty trees of different sizes, so that no list of names falls
behind the models. What holds codes is known by name: the log's `item` and `user`, and the neighbours of co-visitation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.co_visitation import CoVisitation
from stream_workers.models.online.columns import moved_codes
from stream_workers.models.online.event_log import EventLog
from stream_workers.models.online.flat import Tree, leaves
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.numeric import F32, I32, I64, kernel
from stream_workers.models.online.popularity import Popularity
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.title_words import count_words
from stream_workers.models.online.world import Content

_KEPT: Final = 0.8  # so that the next compaction is a fifth of the bound away
_CHUNK: Final = 4096  # rows moved at once
_CATALOGUE: Final = "content."
STAYED: Final = np.zeros(0, np.int32)


class Axis(NamedTuple):
    """Which axis of an array has the rows, and what an empty row holds."""

    number: int
    empty: NDArray[Any]


class RowAxes(NamedTuple):
    """The arrays with a row per item, and those with a row per user, by dotted name."""

    items: Mapping[str, Axis]
    users: Mapping[str, Axis]


def row_axes(new_tree: Callable[[int, int], Tree]) -> RowAxes:
    """The axes of a kind of tree. `new_tree`: makes an empty one with room for so many items and users."""
    small = dict(leaves(new_tree(1, 1)))
    return RowAxes(_axes(small, new_tree(2, 1)), _axes(small, new_tree(1, 2)))


def _axes(small: Mapping[str, NDArray[Any]], larger: Tree) -> dict[str, Axis]:
    found = {}
    for name, array in leaves(larger):
        grown = [axis for axis, size in enumerate(array.shape) if size != small[name].shape[axis]]
        if grown:
            found[name] = Axis(grown[0], np.take(array, 0, grown[0]).copy())
    return found


def most_valuable(values: Sequence[NDArray[Any]], bound: int) -> I64:
    """Codes of the four fifths of `bound` that are worth most, ascending.

    Args:
        values: arrays of n numbers; the first decides, then the next, then the higher code.
    """
    order = np.lexsort(values[::-1])
    return np.sort(order[len(order) - min(len(order), int(bound * _KEPT)) :])


def moves(kept: I64, count: int) -> I32:
    """New code of each of `count` codes: int32[count], -1 where it is not kept."""
    moved = np.full(count, -1, np.int32)
    moved[kept] = np.arange(len(kept), dtype=np.int32)
    return moved


def compact(tree: Tree, axes: RowAxes, items: IdTable, users: IdTable, settings: BankSettings) -> tuple[IdTable, IdTable, I32]:
    """Where the bound is reached keep the most valuable four fifths: users by their newest event, items by popularity at the
    half-life that leads (where the tree has one), then by their newest event.

    Returns:
        Items, users, and the new codes of the items (see `moves`), empty if they stayed.
    """
    log: EventLog = tree._asdict()["log"]
    popularity: Popularity | None = tree._asdict().get("popularity")
    moved = STAYED
    if len(users) >= settings.max_users:
        kept = most_valuable([log.user_last[: len(users)]], settings.max_users)
        keep_users(tree, axes, kept, len(users))
        users = users.kept(kept.tolist())
    count = len(items)
    if count >= settings.max_items:
        leading = [] if popularity is None else [popularity.values[int(np.argmax(popularity.merit[:-1])), :count]]
        kept = most_valuable([*leading, log.item_latest[:count], log.item_last[:count]], settings.max_items)
        moved = keep_items(tree, axes, kept, count)
        items = items.kept(kept.tolist())
    return items, users, moved


def keep_items(tree: Tree, axes: RowAxes, kept: I64, count: int) -> I32:
    """Forget all items but these.

    Args:
        kept: codes, ascending. count: items there are.

    Returns:
        The new code of each old one, see `moves`.
    """
    moved = moves(kept, count)
    _close_up(tree, axes.items, kept)
    log: EventLog = tree._asdict()["log"]
    used = _used(log)
    log.item[used] = moved_codes(log.item[used], moved)
    for part in tree._asdict().values():
        if isinstance(part, CoVisitation):
            rename_neighbours(part.neighbours, part.weights, part.filled, len(kept), moved)
        elif isinstance(part, Popularity):
            part.sums[:] = part.values.sum(axis=1, dtype=np.float64)
        elif isinstance(part, Content):
            count_words(part.words, part.items_with)
    return moved


def keep_users(tree: Tree, axes: RowAxes, kept: I64, count: int) -> I32:
    """Forget all users but these; their events stay as nobody's. Arguments and result as of `keep_items`."""
    moved = moves(kept, count)
    _close_up(tree, axes.users, kept)
    log: EventLog = tree._asdict()["log"]
    used = _used(log)
    log.user[used] = moved_codes(log.user[used], moved)
    _unchain(log, used)
    return moved


def forget_user(tree: Tree, axes: RowAxes, user: int) -> None:
    """Empty every row of one user; their events stay as nobody's."""
    arrays = dict(leaves(tree))
    for name, (axis, empty) in axes.users.items():
        np.moveaxis(arrays[name], axis, 0)[user] = empty
    log: EventLog = tree._asdict()["log"]
    used = _used(log)
    log.user[used][log.user[used] == user] = -1
    _unchain(log, used)


def empty_items(tree: Tree, axes: RowAxes, items: Sequence[int]) -> None:
    """Empty the rows of items that nobody took, but for what the catalogue says of them: they are as if never met."""
    arrays, rows = dict(leaves(tree)), np.array(items, np.int64)
    for name, (axis, empty) in axes.items.items():
        if not name.startswith(_CATALOGUE):
            np.moveaxis(arrays[name], axis, 0)[rows] = empty


def _used(log: EventLog) -> slice:
    """Places of the ring that hold events."""
    return slice(0, min(int(log.total[0]), len(log.item)))


def _unchain(log: EventLog, used: slice) -> None:
    """Nobody's events lead nowhere."""
    nobody = log.user[used] < 0
    log.prev_user[used][nobody] = -1
    log.next_user[used][nobody] = -1


def _close_up(tree: Tree, axes: Mapping[str, Axis], kept: I64) -> None:
    """Move the kept rows to the front, in place and in their order; the rows behind become empty."""
    arrays = dict(leaves(tree))
    for name, (axis, empty) in axes.items():
        rows = np.moveaxis(arrays[name], axis, 0)
        for start in range(0, len(kept), _CHUNK):  # a row never moves up, so nothing is overwritten before it was read
            part = kept[start : start + _CHUNK]
            rows[start : start + len(part)] = rows[part]
        rows[len(kept) :] = empty


@kernel
def rename_neighbours(neighbours: I32, weights: F32, filled: I32, rows: int, moved: I32) -> None:
    """Give the neighbours of the first rows their new codes and close the gaps of those that are gone, in place."""
    for row in range(rows):
        left = 0
        for place in range(filled[row]):
            code = moved[neighbours[row, place]]
            if code >= 0:
                neighbours[row, left], weights[row, left] = code, weights[row, place]
                left += 1
        neighbours[row, left : filled[row]] = 0
        weights[row, left : filled[row]] = np.float32(0.0)
        filled[row] = left
