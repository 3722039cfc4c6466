"""Logs and storages for the tests of the lake: a log in memory, and storages that die, fill up or are watched."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
from pyarrow import parquet

from batch.lake.event_log import LogRecord, Place, Span
from batch.lake.lake import Lake
from batch.lake.storage import Storage
from batch.lake.syncing import BatchSize, sync
from schemas.topics import CLICKS, FEEDBACK, VIEWS

NOW = 1_770_000_000_000
DAY, HOUR = 86_400_000, 3_600_000


def lake_at(folder: Path | str) -> Lake:
    """A lake in a folder, which need not be there."""
    return Lake(Storage(str(folder)))


def filled(folder: Path | str, log: ListLog, records: int = 4) -> Lake:
    """A lake with all of a log, in files of so many records at most."""
    lake = lake_at(folder)
    sync(lake, log, NOW, size=BatchSize(records=records))
    return lake


def rows_of(folder: Path, topic: str, invalid: bool = False) -> list[dict[str, object]]:
    """What is kept of a topic, by one who only looks at the folders."""
    files = sorted(folder.glob(f"{'invalid/' if invalid else ''}topic={topic}/*/*.parquet"))
    return [row for path in files for row in parquet.ParquetFile(path).read().to_pylist()]


class ListLog:
    """A log in memory. Records are appended with rising offsets; the oldest can vanish."""

    def __init__(self, partitions: int = 2, piece: int = 7) -> None:
        self.partitions = partitions
        self.piece = piece
        self.records: dict[Place, list[LogRecord]] = {}
        self.starts: dict[Place, int] = {}
        self.ids: dict[str, str] = {}
        self.time = NOW - 30 * DAY

    def append(self, topic: str, value: Any, key: str | None = None, partition: int = 0, **more: Any) -> LogRecord:
        """Take a value (an object, bytes or None) in, a second after the one before."""
        self.time = more.pop("log_time", self.time + 1000)
        records = self.records.setdefault((topic, partition), [])
        raw = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
        offset = more.pop("offset", records[-1].offset + 1 if records else 0)
        record = LogRecord(topic, partition, offset, None if key is None else key.encode(), raw, self.time, **more)
        records.append(record)
        return record

    def event(self, user: str = "u1", item: str = "7", topic: str = CLICKS, partition: int = 0, **more: Any) -> LogRecord:
        """Take an event in; `at` is its time, `log` what `append` is told besides."""
        log = more.pop("log", {})
        fields = {"user_id": user, "item_id": item, "timestamp": more.pop("at", self.time), **more}
        return self.append(topic, fields, user, partition, **log)

    def topic_ids(self, topics: Sequence[str]) -> Mapping[str, str]:
        return {topic: self.ids.get(topic, f"id of {topic}") for topic in topics if (topic, 0) in self.records}

    def spans(self, topics: Sequence[str]) -> Mapping[Place, Span]:
        places = sorted(place for place in self.records if place[0] in topics)
        return {place: Span(self.starts.get(place, 0), self.end(place)) for place in places}

    def end(self, place: Place) -> int:
        records = self.records[place]
        return records[-1].offset + 1 if records else self.starts.get(place, 0)

    def read(self, place: Place, start: int, end: int) -> Iterator[list[LogRecord]]:
        assert start >= self.starts.get(place, 0), "an offset that the log no longer has"
        wanted = [record for record in self.records[place] if start <= record.offset < end]
        for at in range(0, len(wanted), self.piece):
            yield wanted[at : at + self.piece]


def mixed_log(count: int = 60) -> ListLog:
    """Views, clicks and feedback of a few users and days on two partitions, and a few records that are no events."""
    log = ListLog()
    for n in range(count):
        topic = (VIEWS, CLICKS, FEEDBACK)[n % 3]
        more = {"type": "like"} if topic == FEEDBACK else {}
        log.event(f"u{n % 5}", str(n % 11), topic, n % 2, at=log.time - (n % 4) * DAY, event_id=f"e{n}", **more)
        if n % 20 == 0:
            log.append(topic, b"not json", "u1", n % 2)
    return log


def on_disk(folder: Path, root: str = "", invalid: bool = True) -> Counter[tuple[str, int, int]]:
    """How often each topic, partition and offset is found by one who only looks at the folders."""
    found: Counter[tuple[str, int, int]] = Counter()
    patterns = ("topic=*/day=*/*.parquet", *(("invalid/topic=*/day=*/*.parquet",) if invalid else ()))
    for path in (path for pattern in patterns for path in (folder / root).glob(pattern)):
        topic = path.parts[-3].removeprefix("topic=")
        rows = parquet.ParquetFile(path).read(["partition", "offset"]).to_pylist()
        found.update((topic, row["partition"], row["offset"]) for row in rows)
    return found


def in_log(log: ListLog) -> Counter[tuple[str, int, int]]:
    """Each topic, partition and offset of the log, once."""
    return Counter((r.topic, r.partition, r.offset) for records in log.records.values() for r in records)


def in_lake(lake: Lake) -> Counter[tuple[str, int, int]]:
    """How often each topic, partition and offset is found through the commits."""
    found: Counter[tuple[str, int, int]] = Counter()
    for file in lake.load().files.values():
        for batch in lake.read(file, ["partition", "offset"]):
            found.update((file.topic, row["partition"], row["offset"]) for row in batch.to_pylist())
    return found


class Killed(BaseException):
    """The run is over."""


class DyingStorage(Storage):
    """Dies at the n-th change, before or (`late`) after it; whatever is tried afterwards does not happen either."""

    def __init__(self, url: str, changes: int, late: bool) -> None:
        super().__init__(url)
        self.changes, self.late, self.dead = changes, late, False

    @contextmanager
    def _change(self) -> Iterator[None]:
        self.changes -= 1
        if self.dead or (self.changes < 0 and not self.late):
            self.dead = True
            raise Killed
        yield
        if self.changes < 0:
            self.dead = True
            raise Killed

    @contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        with self._change(), super().writing(path) as file:
            yield file

    def _create(self, path: str, content: bytes, staged: str) -> None:
        with self._change():
            super()._create(path, content, staged)

    def move(self, path: str, target: str) -> None:
        with self._change():
            super().move(path, target)

    def delete(self, path: str) -> None:
        with self._change():
            super().delete(path)


class FullStorage(Storage):
    """A disk with room for so many files."""

    def __init__(self, url: str, room: int) -> None:
        super().__init__(url)
        self.room = room

    @contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        with super().writing(path) as file:
            self.room -= 1
            if self.room < 0:
                file.write(b"PAR1 half of it")
                raise OSError(errno.ENOSPC, "No space left on device")
            yield file
