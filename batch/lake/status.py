"""What is in a lake, topic by topic."""

from __future__ import annotations

from typing import NamedTuple

from batch.lake.columns import LAKE_TOPICS
from batch.lake.commits import LakeState


class TopicStatus(NamedTuple):
    """One topic of a lake.

    Attributes:
        events, invalid: rows; of records that are no events.
        lost: offsets that the log no longer had when a sync came.
        files, bytes: Parquet files and their size.
        first_day, last_day: of the events, `2026-11-23`; None: there are none.
        ends: the offset after the last, by partition.
    """

    events: int
    invalid: int
    lost: int
    files: int
    bytes: int
    first_day: str | None
    last_day: str | None
    ends: dict[int, int]


def status_of(state: LakeState) -> dict[str, TopicStatus]:
    """What belongs to the lake, by topic."""
    return {topic: _of_topic(state, topic) for topic in LAKE_TOPICS}


def _of_topic(state: LakeState, topic: str) -> TopicStatus:
    files = [file for file in state.files.values() if file.topic == topic]
    days = sorted(file.day for file in files if not file.invalid)
    progress = {partition: done for (name, partition), done in sorted(state.progress.items()) if name == topic}
    return TopicStatus(
        sum(file.rows for file in files if not file.invalid),
        sum(file.rows for file in files if file.invalid),
        sum(done.lost for done in progress.values()),
        len(files),
        sum(file.bytes for file in files),
        days[0] if days else None,
        days[-1] if days else None,
        {partition: done.end for partition, done in progress.items()},
    )
