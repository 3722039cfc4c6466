"""What a sync needs of the log. Kafka has its adapter in `kafka_log`; anything with offsets can have one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

Place = tuple[str, int]
"""Topic and partition."""


class LogRecord(NamedTuple):
    """One record.

    Attributes:
        log_time: the record's time, ms. appended: whether that is when the log took it in, and not what a producer says.
        origin: `topic:partition:offset` of the record that a worker forwarded; None: not forwarded.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    log_time: int
    appended: bool = True
    origin: str | None = None


class Span(NamedTuple):
    """What the log holds of one partition: offsets start to end - 1."""

    start: int
    end: int


class EventLog(Protocol):
    """A log of records in topics and partitions."""

    def topic_ids(self, topics: Sequence[str]) -> Mapping[str, str]:
        """What tells a topic from another of the same name that was created later; topics that do not exist are left out."""

    def spans(self, topics: Sequence[str]) -> Mapping[Place, Span]:
        """What the log holds now of each partition of these topics."""

    def read(self, place: Place, start: int, end: int) -> Iterator[list[LogRecord]]:
        """The records at offsets start to end - 1, in order, some at a time; offsets may be missing (compaction).

        Raises:
            Unavailable: the log does not answer.
        """
