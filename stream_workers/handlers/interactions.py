"""What the user stage tells the learner: the values of `interactions` (internal: msgpack of columns).

One message holds events of one user partition in the order in which they were applied, whatever topics they came from. Each
carries its source topic and offset, so the learner can skip what it already has, whatever batches a restarted user stage cuts. That
a person was forgotten stands between the events, as a row of type FORGET.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from feature_store.user_blob import TYPES
from schemas.errors import InvalidEvent
from schemas.ids import MAX_ID_BYTES
from schemas.topics import USER_STAGE_TOPICS

VERSION: Final = 1
EVENTS_PER_MESSAGE: Final = 2000  # 2 MB with the longest ids and contexts
FORGET: Final = 255
"""Type of a row that is no event: the user was forgotten. Its item is -1, its timestamp 0."""
_MAX_CONTEXT: Final = 4  # entries of one event
_MAX_CONTEXT_CHARACTERS: Final = 80  # of one entry

Array = NDArray[Any]


class InteractionColumns(NamedTuple):
    """E rows of one user partition.

    Attributes:
        partition: the user partition.
        user_ids, item_ids: ids that `users` and `items` point into.
        context_table: contexts (see `schemas.events.Event`) that `contexts` points into.
        users, contexts: int32[E]. items: int32[E], -1 only where the type is FORGET.
        topics: uint8[E], index of the source topic in `USER_STAGE_TOPICS`. offsets: int64[E], in that topic.
        types: uint8[E], event types, or FORGET. undo: bool[E]. values: float32[E], NaN where none.
        timestamps: int64[E], event time, ms.
    """

    partition: int
    user_ids: list[str]
    item_ids: list[str]
    context_table: list[tuple[str, ...]]
    users: Array
    items: Array
    contexts: Array
    topics: Array
    offsets: Array
    types: Array
    undo: Array
    values: Array
    timestamps: Array


_COLUMNS: Final = {
    "users": "<i4", "items": "<i4", "contexts": "<i4", "topics": "u1", "offsets": "<i8", "types": "u1", "undo": "?",
    "values": "<f4", "timestamps": "<i8",
}  # fmt: skip


_TABLES: Final = {"users": "user_ids", "items": "item_ids", "contexts": "context_table"}
ROW_COLUMNS: Final = tuple(_COLUMNS)
"""Names of the attributes with a value per row."""


def rows_of(columns: InteractionColumns, rows: slice | Array) -> InteractionColumns:
    """Some of the rows; the tables stay as they are."""
    return columns._replace(**{name: getattr(columns, name)[rows] for name in _COLUMNS})


def interaction_messages(columns: InteractionColumns) -> list[bytes]:
    """The rows as values of `interactions`; each must be acknowledged before the next is sent.

    If an earlier message were lost and a later one not, the learner would take the rows of the earlier one, when they come again,
    for known.
    """
    starts = range(0, len(columns.offsets), EVENTS_PER_MESSAGE)
    return [encode_interactions(rows_of(columns, slice(start, start + EVENTS_PER_MESSAGE))) for start in starts]


def encode_interactions(columns: InteractionColumns) -> bytes:
    """One message; of the tables only what the rows mention."""
    message: dict[str, Any] = {"version": VERSION, "partition": columns.partition}
    for name, form in _COLUMNS.items():
        column = getattr(columns, name)
        if name in _TABLES:
            table = getattr(columns, _TABLES[name])
            column, message[_TABLES[name]] = _compacted(column.tolist(), table)
        message[name] = column.astype(form, copy=False).tobytes()
    packed: bytes = msgpack.packb(message)
    return packed


def _compacted(rows: list[int], table: Sequence[Any]) -> tuple[Array, list[Any]]:
    """The same rows of a table of only what they mention; -1 stays. (A dict is faster than `np.unique` for batches of any size.)"""
    places: dict[int, int] = {}
    compact = [-1 if row < 0 else places.setdefault(row, len(places)) for row in rows]
    return np.array(compact, np.int32), [table[row] for row in places]


def decode_interactions(value: bytes | None) -> InteractionColumns:
    """Inverse of `encode_interactions`.

    Raises:
        InvalidEvent: `not_interactions`, for anything that Freshet's user stage did not write.
    """
    try:
        message = msgpack.unpackb(value or b"")
        if message["version"] != VERSION:
            raise ValueError(f"version {message['version']}")
        columns: dict[str, Any] = {name: np.frombuffer(message[name], form) for name, form in _COLUMNS.items()}
        tables: Any = [list(message["user_ids"]), list(message["item_ids"]), list(map(tuple, message["context_table"]))]
        decoded = InteractionColumns(message["partition"], *tables, **columns)
        _check(decoded)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, msgpack.UnpackException) as error:
        raise InvalidEvent("not_interactions", f"{type(error).__name__}: {error}") from error
    return decoded


def _check(columns: InteractionColumns) -> None:
    if type(columns.partition) is not int or columns.partition < 0:
        raise ValueError("a partition that is none")
    if len({len(getattr(columns, name)) for name in _COLUMNS}) != 1:
        raise ValueError("columns of different lengths")
    forget = columns.types == FORGET
    for column, limit in (  # the kernels check no bounds
        (columns.users, len(columns.user_ids)),
        (columns.items[~forget], len(columns.item_ids)),
        (columns.contexts, len(columns.context_table)),
        (columns.topics, len(USER_STAGE_TOPICS)),
        (columns.types[~forget], TYPES),
        (columns.offsets, 2**62),
        (columns.timestamps, 2**62),
    ):
        if len(column) and (column.max() >= limit or column.min() < 0):
            raise ValueError("an index out of range")
    if (columns.items[forget] != -1).any() or np.isinf(columns.values).any() or (columns.undo.view(np.uint8) > 1).any():
        raise ValueError("a value out of range")
    _check_tables(columns)


def _check_tables(columns: InteractionColumns) -> None:
    if not all(type(i) is str and 0 < len(i) <= MAX_ID_BYTES for i in (*columns.user_ids, *columns.item_ids)):
        raise ValueError("an id that is none")
    for context in columns.context_table:
        if len(context) > _MAX_CONTEXT or not all(type(c) is str and len(c) <= _MAX_CONTEXT_CHARACTERS for c in context):
            raise ValueError("a context that is none")


def lots(columns: InteractionColumns) -> NDArray[np.uint64]:
    """A number for each row, uint64[E], that depends on nothing but where the log holds its event (SplitMix64's finalizer).

    Whether an event is in a sample is decided by it: a replay of the log then samples the same events.
    """
    place = columns.offsets.astype(np.uint64) | columns.topics.astype(np.uint64) << np.uint64(60)
    mixed = place ^ np.uint64(columns.partition) << np.uint64(44)
    with np.errstate(over="ignore"):
        mixed = mixed + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)
