"""What the user stage tells the item stage: the values of `item-signals` (internal: msgpack of columns).

Signals whose source is the topic `users` take events of forgotten users back (see `taking_back`); they have a version of their own,
so that a worker of before refuses what it would add once more.

One message holds what the events of one source partition mean for the items of one item partition. Each event carries its source
offset, so the item stage can skip what it already has, whatever batches a restarted user stage cuts.
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
from schemas.topics import USERS

VERSION: Final = 1
INVERSE_VERSION: Final = 2
NOT_OWNED: Final = -1


class Signals(NamedTuple):
    """Columns of one message: E events and P pairs.

    Attributes:
        source: topic and partition of the events.
        ids: item ids that the other columns point into.
        offsets, timestamps: int64[E]. types: uint8[E].
        items: int32[E], index into `ids`; -1 where the event's own item belongs to another item partition.
        pair_events, pair_rows, pair_others: int32[P]; event, item whose neighbour list grows, the neighbour.
        pair_weights: float32[P].
    """

    source: tuple[str, int]
    ids: list[str]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    types: NDArray[np.uint8]
    items: NDArray[np.int32]
    pair_events: NDArray[np.int32]
    pair_rows: NDArray[np.int32]
    pair_others: NDArray[np.int32]
    pair_weights: NDArray[np.float32]

    @property
    def inverse(self) -> bool:
        """Whether the events are taken back."""
        return self.source[0] == USERS

    @property
    def version(self) -> int:
        """Of the message's form."""
        return INVERSE_VERSION if self.inverse else VERSION


_COLUMNS: Final = {
    "offsets": "<i8", "timestamps": "<i8", "types": "u1", "items": "<i4",
    "pair_events": "<i4", "pair_rows": "<i4", "pair_others": "<i4", "pair_weights": "<f4",
}  # fmt: skip


def encode_signals(signals: Signals) -> bytes:
    """The message's value."""
    message: dict[str, Any] = {"version": signals.version, "source": signals.source, "ids": signals.ids}
    for name, form in _COLUMNS.items():
        message[name] = getattr(signals, name).astype(form, copy=False).tobytes()
    packed: bytes = msgpack.packb(message)
    return packed


def decode_signals(value: bytes | None) -> Signals:
    """Inverse of `encode_signals`.

    Raises:
        InvalidEvent: `not_signals`, for anything that Freshet's user stage did not write.
    """
    try:
        message = msgpack.unpackb(value or b"")
        columns = {name: np.frombuffer(message[name], form) for name, form in _COLUMNS.items()}
        topic, partition = message["source"]
        signals = Signals((str(topic), int(partition)), list(message["ids"]), **columns)
        if message["version"] != signals.version:
            raise ValueError(f"version {message['version']}")
        _check(signals)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, msgpack.UnpackException) as error:
        raise InvalidEvent("not_signals", f"{type(error).__name__}: {error}") from error
    return signals


def _check(signals: Signals) -> None:
    events, ids = len(signals.offsets), len(signals.ids)
    sizes = {len(column) for column in (signals.timestamps, signals.types, signals.items)}
    pair_sizes = {len(getattr(signals, name)) for name in ("pair_events", "pair_rows", "pair_others", "pair_weights")}
    if sizes - {events} or len(pair_sizes) != 1:
        raise ValueError("columns of different lengths")
    for column, least, limit in (  # the kernels check no bounds
        (signals.items, NOT_OWNED, ids),
        (signals.types, 0, TYPES),
        (signals.pair_rows, 0, ids),
        (signals.pair_others, 0, ids),
        (signals.pair_events, 0, events),
    ):
        if len(column) and (column.max() >= limit or column.min() < least):
            raise ValueError("an index out of range")
    if not np.isfinite(signals.pair_weights).all():
        raise ValueError("a weight that is not finite")
    if not all(type(i) is str and 0 < len(i) <= MAX_ID_BYTES for i in signals.ids):
        raise ValueError("an id that is none")


def only(signals: Signals, events: NDArray[np.bool_]) -> Signals:
    """The message without some of its events (bool[E], True: keep) and their pairs."""
    pairs = events[signals.pair_events]
    place = np.cumsum(events) - 1
    return signals._replace(
        offsets=signals.offsets[events],
        timestamps=signals.timestamps[events],
        types=signals.types[events],
        items=signals.items[events],
        pair_events=place[signals.pair_events[pairs]].astype(np.int32),
        pair_rows=signals.pair_rows[pairs],
        pair_others=signals.pair_others[pairs],
        pair_weights=signals.pair_weights[pairs],
    )


def merged(messages: Sequence[Signals]) -> Signals:
    """Several messages as one, in their order; the source is the first one's and means nothing any more."""
    if len(messages) == 1:
        return messages[0]
    index: dict[str, int] = {}
    # The last place is for NOT_OWNED, which is -1.
    places = [np.array([*(index.setdefault(i, len(index)) for i in m.ids), NOT_OWNED], np.int32) for m in messages]
    starts = np.cumsum([0, *(len(m.offsets) for m in messages[:-1])])
    return Signals(
        messages[0].source,
        list(index),
        offsets=np.concatenate([m.offsets for m in messages]),
        timestamps=np.concatenate([m.timestamps for m in messages]),
        types=np.concatenate([m.types for m in messages]),
        items=np.concatenate([place[m.items] for m, place in zip(messages, places, strict=True)]),
        pair_events=np.concatenate([m.pair_events + start for m, start in zip(messages, starts, strict=True)]).astype(np.int32),
        pair_rows=np.concatenate([place[m.pair_rows] for m, place in zip(messages, places, strict=True)]),
        pair_others=np.concatenate([place[m.pair_others] for m, place in zip(messages, places, strict=True)]),
        pair_weights=np.concatenate([m.pair_weights for m in messages]),
    )
