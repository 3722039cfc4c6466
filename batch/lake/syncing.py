"""From the log into the lake: reads on from the offset after the lake's newest, and commits some events at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import pyarrow as pa

from batch.lake.columns import LAKE_TOPICS, columns_of
from batch.lake.commits import Commit, LakeState, Progress, commit_path, place_name
from batch.lake.decoding import Row, Values, decode
from batch.lake.event_log import EventLog, LogRecord, Place, Span
from batch.lake.lake import Lake, Stage
from schemas.errors import InvalidInput
from schemas.events import Limits

Say = Callable[[str], None]
Tick = Callable[[int, int], None]


class BatchSize(NamedTuple):
    """How much is held in memory and committed at once: so many records, or so many bytes of them."""

    records: int = 100_000
    bytes: int = 32 * 1024 * 1024


class TopicReport(NamedTuple):
    """What a sync did for one topic.

    Attributes:
        events: rows added. invalid: of records that are no events, kept as they came.
        lost: offsets that the log no longer has and the lake never had.
        files: Parquet files added.
    """

    events: int = 0
    invalid: int = 0
    lost: int = 0
    files: int = 0


SyncReport = dict[str, TopicReport]
_WHOLE: Final = BatchSize()


def sync(
    lake: Lake,
    log: EventLog,
    now_ms: int,
    limits: Limits = Limits(),
    say: Say = lambda line: None,
    tick: Tick = lambda done, total: None,
    size: BatchSize = _WHOLE,
) -> SyncReport:
    """Bring the lake to where the log ends now. Killed at any moment and run again, it neither loses nor doubles an event.

    Args:
        lake: locked by the caller (`Lake.locked`).
        log: what to read.
        now_ms: the time.
        limits: of single events, as the workers have them.
        say: takes a line for a person: what the log has lost.
        tick: is told (offsets done, offsets in all).
        size: of a batch.

    Returns:
        What was added, by topic.

    Raises:
        InvalidInput: a topic is not the one that the lake was made from; nothing was added.
        Unavailable: log or storage does not answer or is full; what was committed stays, the next sync goes on there.
        DamagedLake: see `load_state`.
    """
    lake.settle(now_ms)
    state = lake.load()
    topic_ids, spans = log.topic_ids(LAKE_TOPICS), log.spans(LAKE_TOPICS)
    for place, progress in state.progress.items():
        _check_same_log(lake, place, progress, topic_ids.get(place[0]), spans.get(place))
    run = _Sync(lake, log, now_ms, limits, say, size, topic_ids)
    ends = _progress_of(state, spans)
    total, done = sum(max(0, span.end - ends[place].end) for place, span in spans.items()), 0
    for place, span in spans.items():
        for offsets in run.copy(place, span, ends[place]):
            done += offsets
            tick(done, total)
    return {topic: run.report[topic] for topic in LAKE_TOPICS}


def _progress_of(state: LakeState, spans: Mapping[Place, Span]) -> dict[Place, Progress]:
    return {place: state.progress.get(place, Progress()) for place in spans}


def _check_same_log(lake: Lake, place: Place, progress: Progress, topic_id: str | None, span: Span | None) -> None:
    name = place_name(place)
    if topic_id is None or span is None:
        why = f"{name} is not in this Kafka"
    elif progress.topic_id and topic_id and topic_id != progress.topic_id:
        why = f"topic {place[0]} is another one (id {topic_id}, the lake's is {progress.topic_id}): it was deleted and created anew"
    elif span.end < progress.end:
        why = f"{name} ends at offset {span.end}, the lake has offsets to {progress.end - 1}: it was deleted and created anew"
    else:
        return
    raise InvalidInput(
        f"lake {lake.url}: {why}. A lake holds the events of one log: name another lake, or the Kafka that this one was made from"
    )


class _Overtaken(Exception):
    """Another sync committed these offsets first (on an object store, where nothing can be locked)."""


class _Batch:
    """Rows by folder, until they are committed.

    Attributes:
        records, bytes: how many rows there are, and how long their values are.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[Values]] = defaultdict(list)
        self.records = self.bytes = 0

    def add(self, row: Row, record: LogRecord) -> None:
        """Take one more."""
        self.rows[row.folder].append(row.values)
        self.records += 1
        self.bytes += len(record.value or b"")

    def is_full(self, size: BatchSize) -> bool:
        """Whether it is time to commit."""
        return self.records >= size.records or self.bytes >= size.bytes


class _Sync:
    """One sync: what stays the same for all partitions, and what was done so far."""

    def __init__(
        self, lake: Lake, log: EventLog, now_ms: int, limits: Limits, say: Say, size: BatchSize, topic_ids: Mapping[str, str]
    ) -> None:
        self._lake, self._log, self._now_ms, self._limits = lake, log, now_ms, limits
        self._say, self._size, self._topic_ids = say, size, topic_ids
        self.report: dict[str, TopicReport] = defaultdict(TopicReport)

    def copy(self, place: Place, span: Span, progress: Progress) -> Iterator[int]:
        """Copy a partition up to the span's end; yields the number of offsets after each commit."""
        while True:
            try:
                yield from self._copy_on(place, span, progress)
            except _Overtaken:
                progress = self._lake.load().progress[place]
            else:
                return

    def _copy_on(self, place: Place, span: Span, progress: Progress) -> Iterator[int]:
        first, batch = progress.end, _Batch()
        lost = self._note_lost(place, span, first)
        for records in self._log.read(place, first + lost, span.end):
            for record in records:
                batch.add(decode(record, self._now_ms, self._limits), record)
                if batch.is_full(self._size):
                    self._commit(place, (first, record.offset), lost, batch)
                    yield record.offset + 1 - first
                    first, lost, batch = record.offset + 1, 0, _Batch()
        if first < span.end:
            self._commit(place, (first, span.end - 1), lost, batch)
            yield span.end - first

    def _note_lost(self, place: Place, span: Span, first: int) -> int:
        """How many offsets from the first on the log no longer has; told to the person."""
        lost = max(0, span.start - first)
        if lost:
            self._say(
                f"warning: {place_name(place)}: offsets {first} to {span.start - 1} ({lost:,}) are in neither log nor lake: "
                "the topic's retention removed them before a sync read them. Sync more often, or keep the topic longer"
            )
        return lost

    def _commit(self, place: Place, span: tuple[int, int], lost: int, batch: _Batch) -> None:
        with Stage(self._lake, self._now_ms) as stage:
            for folder, rows in batch.rows.items():
                schema = columns_of(place[0], invalid=folder.startswith("invalid/"))
                stage.write(folder, place, (span[0] + lost, span[1]), [_as_columns(rows, schema)])
            commit = Commit(
                topic=place[0], partition=place[1], first=span[0], last=span[1], lost=lost,
                topic_id=self._topic_ids.get(place[0], ""), committed_ms=self._now_ms, staged=stage.folder,
                files=tuple(stage.files),
            )  # fmt: skip
            if not stage.commit(commit_path(*place, span[0]), commit.model_dump_json().encode()):
                raise _Overtaken
            stage.publish()
        self._count(commit)

    def _count(self, commit: Commit) -> None:
        before = self.report[commit.topic]
        invalid = sum(file.rows for file in commit.files if file.invalid)
        self.report[commit.topic] = TopicReport(
            before.events + sum(file.rows for file in commit.files) - invalid,
            before.invalid + invalid,
            before.lost + commit.lost,
            before.files + len(commit.files),
        )


def _as_columns(rows: list[Values], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
