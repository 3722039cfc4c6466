"""Merges the partitions of `interactions` into one stream by event time, and knows what was learnt of each.

Within a partition rows keep their order; a row is as late as the latest waiting before it. Between partitions the row with the
smallest event time comes first. A partition from which nothing waits may still deliver something older, so nothing is taken while
one is empty, except what was waiting when all that had happened by then was known to be delivered (`waiting`, `release`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.topics import INTERACTIONS, USER_STAGE_TOPICS
from stream_workers.handlers.interactions import ROW_COLUMNS, InteractionColumns, lots, rows_of

I64 = NDArray[np.int64]
_EMPTY: Final = -1  # key before every event


class Merged(NamedTuple):
    """E rows in the order to be learnt.

    Attributes:
        users, items, contexts: of each row; "" where a FORGET has no item.
        types, values, undo, timestamps: as of `InteractionColumns`.
        lots: uint64[E], see `interactions.lots`.
    """

    users: list[str]
    items: list[str]
    contexts: list[tuple[str, ...]]
    types: NDArray[np.uint8]
    values: NDArray[np.float32]
    undo: NDArray[np.bool_]
    timestamps: I64
    lots: NDArray[np.uint64]


class _Message(NamedTuple):
    """Rows of one message that were not known; `offset` is the message's in `interactions`."""

    offset: int
    columns: InteractionColumns
    lots: NDArray[np.uint64]


class _Queue:
    """What waits of one partition."""

    def __init__(self) -> None:
        self.messages: deque[_Message] = deque()
        self.done = 0  # rows of the first message that were taken
        self.waiting = 0
        self.taken = 0  # rows ever
        self.released = 0  # rows ever that may be taken whatever the other partitions may still deliver

    def heads(self, limit: int) -> Iterator[tuple[_Message, slice]]:
        """The first rows, at most `limit`, message by message."""
        start = self.done
        for message in self.messages:
            end = min(len(message.lots), start + limit)
            if end > start:
                yield message, slice(start, end)
            limit -= end - start
            start = 0
            if limit <= 0:
                return

    def keys(self, limit: int) -> I64:
        """When the first rows are due, at most `limit` of them: int64[n], ascending."""
        times = [message.columns.timestamps[rows] for message, rows in self.heads(limit)]
        return np.maximum.accumulate(np.concatenate([np.zeros(0, np.int64), *times]))


class InteractionMerge:
    """See the module.

    Args:
        partitions: partition numbers.
        marks: watermarks: `interactions:<p>`, last message of that partition taken whole; `<topic>:<p>`, last source offset taken.

    Attributes:
        marks: the same for everything taken so far.
    """

    def __init__(self, partitions: Iterable[int], marks: Mapping[str, int]) -> None:
        self._queues = {partition: _Queue() for partition in partitions}
        self._known = dict(marks)  # of sources, including what waits
        self.marks = dict(marks)

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return sum(queue.waiting for queue in self._queues.values())

    def rows_in(self, partition: int) -> int:
        """Rows that wait of one partition."""
        return self._queues[partition].waiting

    def add(self, partition: int, offset: int, columns: InteractionColumns) -> None:
        """Take in a message; rows whose source offset is known are dropped.

        Raises:
            ValueError: it is not of this partition.
        """
        if columns.partition != partition:
            raise ValueError(f"rows of user partition {columns.partition} in partition {partition}")
        fresh = columns.offsets > self._raised(columns)
        if not fresh.all():
            columns = rows_of(columns, fresh)
        queue = self._queues[partition]
        queue.messages.append(_Message(offset, columns, lots(columns)))
        queue.waiting += len(columns.offsets)
        self._drop_finished(partition)

    def skip(self, partition: int, offset: int) -> None:
        """Pass over a message that says nothing."""
        nothing = np.zeros(0, np.int64)
        empty = InteractionColumns(partition, [], [], [], *[nothing] * len(ROW_COLUMNS))
        self.add(partition, offset, empty)

    def waiting(self) -> dict[int, int]:
        """What waits now, for `release`."""
        return {partition: queue.taken + queue.waiting for partition, queue in self._queues.items()}

    def release(self, waiting: Mapping[int, int]) -> None:
        """What waited then need wait no longer."""
        for partition, rows in waiting.items():
            self._queues[partition].released = rows

    def take(self, limit: int) -> Merged | None:
        """The next rows, at most `limit`; None if there are none yet."""
        keys = {partition: queue.keys(limit) for partition, queue in self._queues.items()}
        bound = min((int(k[-1]) if len(k) else _EMPTY for k in keys.values()), default=_EMPTY)
        ready = {p: k[: max(int(np.searchsorted(k, bound, "right")), self._released(p))] for p, k in keys.items()}
        order = np.argsort(np.concatenate([*ready.values(), np.zeros(0, np.int64)]), kind="stable")[:limit]
        if not len(order):
            return None
        starts = np.cumsum([0, *(len(k) for k in ready.values())])
        counts = np.diff(np.searchsorted(np.sort(order), starts)).tolist()
        places = np.argsort(np.argsort(order))  # where each taken row stands among all taken, partition after partition
        return self._gathered(dict(zip(ready, counts, strict=True)), places)

    def _released(self, partition: int) -> int:
        queue = self._queues[partition]
        return max(0, queue.released - queue.taken)

    def _gathered(self, counts: Mapping[int, int], places: I64) -> Merged:
        parts = [part for partition, count in counts.items() for part in self._pop(partition, count)]
        users = [c.user_ids[u] for c, _ in parts for u in c.users.tolist()]
        items = [c.item_ids[i] if i >= 0 else "" for c, _ in parts for i in c.items.tolist()]
        contexts = [c.context_table[x] for c, _ in parts for x in c.contexts.tolist()]
        wanted = places.tolist()
        named = ("types", "values", "undo", "timestamps")
        rest: Any = {name: np.concatenate([getattr(c, name) for c, _ in parts])[places] for name in named}
        drawn = np.concatenate([lot for _, lot in parts])[places]
        return Merged(
            [users[at] for at in wanted], [items[at] for at in wanted], [contexts[at] for at in wanted], **rest, lots=drawn
        )

    def _pop(self, partition: int, count: int) -> list[tuple[InteractionColumns, NDArray[np.uint64]]]:
        queue = self._queues[partition]
        parts = [(rows_of(m.columns, rows), m.lots[rows]) for m, rows in queue.heads(count)] if count else []
        for columns, _ in parts:
            _raise_marks(self.marks, columns)
        queue.done += count
        queue.taken += count
        queue.waiting -= count
        self._drop_finished(partition)
        return parts

    def _drop_finished(self, partition: int) -> None:
        queue = self._queues[partition]
        while queue.messages and queue.done >= len(queue.messages[0].lots):
            message = queue.messages.popleft()
            queue.done -= len(message.lots)
            self.marks[mark_name(INTERACTIONS, partition)] = message.offset

    def _raised(self, columns: InteractionColumns) -> I64:
        """The highest known source offset for each row, before this message raises it."""
        names = [mark_name(topic, columns.partition) for topic in USER_STAGE_TOPICS]
        before = np.array([self._known.get(name, -1) for name in names], np.int64)[columns.topics.astype(np.int64)]
        _raise_marks(self._known, columns)
        return before


def mark_name(topic: str, partition: int) -> str:
    """Watermark field.

    >>> mark_name("clicks", 3)
    'clicks:3'
    """
    return f"{topic}:{partition}"


def _raise_marks(marks: dict[str, int], columns: InteractionColumns) -> None:
    for code in np.unique(columns.topics).tolist():
        name = mark_name(USER_STAGE_TOPICS[int(code)], columns.partition)
        marks[name] = max(marks.get(name, -1), int(columns.offsets[columns.topics == code].max()))
