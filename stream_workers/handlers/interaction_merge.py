"""Merges the partitions of `interactions` into one stream by event time, and knows what was learnt of each.

What waits of one partition and one source topic is a queue: by topic, because a user stage with something to catch up with reads
one topic further ahead than another. In a queue rows keep their order; a row is as late as the latest waiting before it. Of the
queues' first rows the one with the smallest event time comes first. A queue in which nothing waits may still get something older:
nothing is taken while one is empty, except what was waiting when all that had happened by then was known to be delivered
(`waiting`, `release`). Topics of which nothing ever came do not count. That a person was forgotten stands behind everything that
waits of the partition, and before what comes later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from schemas.topics import EVENT_TOPICS, INTERACTIONS, USER_STAGE_TOPICS, USERS
from stream_workers.handlers.interactions import ROW_COLUMNS, InteractionColumns, lots, rows_of

I64 = NDArray[np.int64]
Queue: TypeAlias = tuple[int, str]  # partition, source topic
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


@dataclass(slots=True)
class _Message:
    """Where it stands in `interactions`, and how many of its rows are still to be taken."""

    offset: int
    left: int


class _Part(NamedTuple):
    """Rows of one message from one topic, and when each is due: int64, ascending."""

    message: _Message
    columns: InteractionColumns
    lots: NDArray[np.uint64]
    keys: I64


class _Queue:
    """What waits of one partition and topic."""

    def __init__(self) -> None:
        self.parts: deque[_Part] = deque()
        self.done = 0  # rows of the first part that were taken
        self.waiting = 0
        self.taken = 0  # rows ever
        self.released = 0  # rows ever that may be taken whatever the other queues may still get

    @property
    def last(self) -> int:
        """When the last row is due."""
        return int(self.parts[-1].keys[-1]) if self.parts else _EMPTY

    def put(self, part: _Part) -> None:
        """Add rows at the end."""
        self.parts.append(part)
        self.waiting += len(part.keys)

    def heads(self, limit: int) -> Iterator[tuple[_Part, slice]]:
        """The first rows, at most `limit`, part by part."""
        start = self.done
        for part in self.parts:
            end = min(len(part.keys), start + limit)
            if end > start:
                yield part, slice(start, end)
            limit -= end - start
            start = 0
            if limit <= 0:
                return

    def keys(self, limit: int) -> I64:
        """When the first rows are due, at most `limit` of them: int64[n], ascending."""
        return np.concatenate([np.zeros(0, np.int64), *(part.keys[rows] for part, rows in self.heads(limit))])

    def pop(self, count: int) -> None:
        """Take the first rows."""
        for part, rows in self.heads(count):
            part.message.left -= rows.stop - rows.start
        self.done += count
        self.taken += count
        self.waiting -= count
        while self.parts and self.done >= len(self.parts[0].keys):
            self.done -= len(self.parts.popleft().keys)


class InteractionMerge:
    """See the module.

    Args:
        partitions: partition numbers.
        marks: watermarks: `interactions:<p>`, last message of that partition taken whole; `<topic>:<p>`, last source offset taken.

    Attributes:
        marks: the same for everything taken so far.
    """

    def __init__(self, partitions: Iterable[int], marks: Mapping[str, int]) -> None:
        self._messages: dict[int, deque[_Message]] = {partition: deque() for partition in partitions}
        self._queues = {(p, topic): _Queue() for p in self._messages for topic in USER_STAGE_TOPICS}
        self._seen = {topic for p, topic in self._queues if marks.get(mark_name(topic, p), -1) >= 0}
        self._known = dict(marks)  # of sources, including what waits
        self.marks = dict(marks)

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return sum(queue.waiting for queue in self._queues.values())

    def rows_in(self, partition: int) -> int:
        """Rows that wait of one partition."""
        return sum(self._queues[partition, topic].waiting for topic in USER_STAGE_TOPICS)

    def silent(self) -> list[Queue]:
        """The queues in which nothing waits, so that the others wait for them."""
        return [(p, t) for (p, t), queue in self._queues.items() if t in self._seen and t in EVENT_TOPICS and not queue.waiting]

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
        message = _Message(offset, len(columns.offsets))
        self._messages[partition].append(message)
        codes = np.unique(columns.topics).tolist()
        for code in sorted(codes, reverse=True):  # `users` first: forgetting stands before the events of its message
            rows = columns if len(codes) == 1 else rows_of(columns, columns.topics == code)
            self._put(message, USER_STAGE_TOPICS[code], rows)
        self._drop_finished(partition)

    def skip(self, partition: int, offset: int) -> None:
        """Pass over a message that says nothing."""
        nothing = np.zeros(0, np.int64)
        empty = InteractionColumns(partition, [], [], [], *[nothing] * len(ROW_COLUMNS))
        self.add(partition, offset, empty)

    def waiting(self) -> dict[Queue, int]:
        """What waits now, for `release`."""
        return {place: queue.taken + queue.waiting for place, queue in self._queues.items()}

    def release(self, waiting: Mapping[Queue, int]) -> None:
        """What waited then need wait no longer."""
        for place, rows in waiting.items():
            self._queues[place].released = rows

    def take(self, limit: int) -> Merged | None:
        """The next rows, at most `limit`; None if there are none yet."""
        keys = {place: queue.keys(limit) for place, queue in self._queues.items() if queue.waiting}
        bound = _EMPTY if self.silent() else min((int(k[-1]) for (_, topic), k in keys.items() if topic != USERS), default=_EMPTY)
        ready = {place: k[: max(int(np.searchsorted(k, bound, "right")), self._released(place))] for place, k in keys.items()}
        order = np.argsort(np.concatenate([*ready.values(), np.zeros(0, np.int64)]), kind="stable")[:limit]
        if not len(order):
            return None
        starts = np.cumsum([0, *(len(k) for k in ready.values())])
        counts = np.diff(np.searchsorted(np.sort(order), starts)).tolist()
        places = np.argsort(np.argsort(order))  # where each taken row stands among all taken, queue after queue
        return self._gathered(dict(zip(ready, counts, strict=True)), places)

    def _put(self, message: _Message, topic: str, columns: InteractionColumns) -> None:
        self._seen.add(topic)
        forgotten, own = self._queues[columns.partition, USERS], self._queues[columns.partition, topic]
        if topic == USERS:
            due = np.full(len(columns.offsets), 1 + max(self._queues[columns.partition, t].last for t in USER_STAGE_TOPICS))
        else:
            after = max(own.last, forgotten.last + 1)
            due = np.maximum.accumulate(np.maximum(columns.timestamps, after))
        own.put(_Part(message, columns, lots(columns), due))

    def _released(self, place: Queue) -> int:
        queue = self._queues[place]
        return max(0, queue.released - queue.taken)

    def _gathered(self, counts: Mapping[Queue, int], places: I64) -> Merged:
        parts = [part for place, count in counts.items() for part in self._pop(place, count)]
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

    def _pop(self, place: Queue, count: int) -> list[tuple[InteractionColumns, NDArray[np.uint64]]]:
        queue = self._queues[place]
        parts = [(rows_of(part.columns, rows), part.lots[rows]) for part, rows in queue.heads(count)] if count else []
        for columns, _ in parts:
            _raise_marks(self.marks, columns)
        queue.pop(count)
        self._drop_finished(place[0])
        return parts

    def _drop_finished(self, partition: int) -> None:
        messages = self._messages[partition]
        while messages and not messages[0].left:
            self.marks[mark_name(INTERACTIONS, partition)] = messages.popleft().offset

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
