"""Rows of the lake in the order of the log, and data sets for other tools."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute, dataset
from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

from batch.lake.columns import LAKE_TOPICS, columns_of
from batch.lake.commits import DataFile, LakeState, place_name
from batch.lake.decoding import folder_of
from batch.lake.event_log import Place
from batch.lake.lake import Lake
from batch.lake.merging import Keyed, Stream, merge
from schemas.errors import InvalidInput

_NEEDED: Final = ("offset", "timestamp", "log_time")


class Cut(NamedTuple):
    """Which events to read.

    Attributes:
        since, until: event times in ms; from the first on and before the second; None: no bound.
        offsets: by `topic-partition` (`clicks-0`) the offset before which to read; None: everything.
    """

    since: int | None = None
    until: int | None = None
    offsets: Mapping[str, int] | None = None


EVERYTHING: Final = Cut()


def read_rows(
    lake: Lake, topics: Collection[str], columns: Sequence[str] | None = None, cut: Cut = EVERYTHING, invalid: bool = False
) -> Iterator[pa.Table]:
    """Rows in the order of the log, some at a time: each partition by its offsets, the partitions by log time.

    What a compaction does meanwhile does not show: the lake is read as it was at the start.

    Args:
        topics: several only where they have the same columns: views, clicks and feedback.
        columns: only these, of `columns.columns_of` and `topic`; None: all.
        cut: which rows.
        invalid: instead of the events, the records that are none.

    Raises:
        InvalidInput: no such topic or column, or topics of different columns.
        DamagedLake: a file is missing or not what was written.
    """
    wanted = _wanted(topics, columns, invalid)
    state = lake.load()
    places: dict[Place, list[DataFile]] = {}
    for file in sorted(state.files.values(), key=lambda file: (LAKE_TOPICS.index(file.topic), file.partition, file.first)):
        if file.topic in topics and file.invalid == invalid and _may_hold(file, cut):
            places.setdefault((file.topic, file.partition), []).append(file)
    streams = [Stream(_by_log_time(_of_place(lake, place, files, wanted, cut)), -1) for place, files in places.items()]
    for chunk in merge(streams):
        yield chunk.rows.select(wanted)


def ends_of(state: LakeState) -> dict[str, int]:
    """How far the lake is, as `Cut.offsets` wants it: where a model that read all of it has its cut-off."""
    return {place_name(place): progress.end for place, progress in sorted(state.progress.items())}


def as_dataset(lake: Lake, topic: str, invalid: bool = False) -> dataset.Dataset:
    """The files of a topic as a data set of pyarrow, with `topic` and `day` as columns; in no order.

    Args:
        invalid: instead of the events, the records that are none.

    Raises:
        InvalidInput: no such topic.
        DamagedLake: a file is missing.
    """
    _wanted([topic], None, invalid)
    folders = pa.schema([pa.field("topic", pa.string()), pa.field("day", pa.string())])
    schema = pa.schema([*columns_of(topic, invalid), *folders])
    paths = [lake.path_of(file) for file in lake.load().files.values() if file.topic == topic and file.invalid == invalid]
    if not paths:
        return dataset.dataset(schema.empty_table())
    # Through Python a scan that was not read to its end can keep the interpreter from ending; on a disk there is no need for it.
    opened = LocalFileSystem() if lake.storage.is_local else PyFileSystem(FSSpecHandler(lake.storage.filesystem))
    return dataset.dataset(
        paths, schema, format="parquet", filesystem=opened, partitioning=dataset.partitioning(folders, flavor="hive")
    )


def _wanted(topics: Collection[str], columns: Sequence[str] | None, invalid: bool) -> list[str]:
    unknown = [topic for topic in topics if topic not in LAKE_TOPICS]
    if unknown or not topics:
        raise InvalidInput(f"topics {sorted(topics)}: the lake has {', '.join(LAKE_TOPICS)}")
    known = [columns_of(topic, invalid) for topic in topics]
    if any(schema.names != known[0].names for schema in known):
        raise InvalidInput(f"topics {sorted(topics)} have different columns: read them one by one")
    names = ["topic", *known[0].names]
    if columns is not None and (wrong := [name for name in columns if name not in names]):
        raise InvalidInput(f"no column {wrong[0]!r}; {sorted(topics)[0]} has {', '.join(names)}")
    return names if columns is None else list(columns)


def _may_hold(file: DataFile, cut: Cut) -> bool:
    days = [None if bound is None else folder_of("", bound).rpartition("=")[2] for bound in (cut.since, cut.until)]
    if (days[0] is not None and file.day < days[0]) or (days[1] is not None and file.day > days[1]):
        return False
    return cut.offsets is None or file.first < cut.offsets.get(place_name((file.topic, file.partition)), 0)


def _of_place(lake: Lake, place: Place, files: list[DataFile], columns: list[str], cut: Cut) -> Iterator[pa.Table]:
    """The rows of one partition in the order of offsets; its days are read side by side."""
    names = [name for name in dict.fromkeys((*_NEEDED, *columns)) if name != "topic"]
    streams = [Stream(_of_file(lake, file, names, cut), file.first) for file in files]
    for chunk in merge(streams):
        topic: Any = pa.repeat(place[0], chunk.rows.num_rows)
        yield chunk.rows.append_column("topic", topic)


def _of_file(lake: Lake, file: DataFile, columns: list[str], cut: Cut) -> Iterator[Keyed]:
    for batch in lake.read(file, columns):
        rows = pa.Table.from_batches([batch]).replace_schema_metadata()
        for name, keep, bound in _bounds(file, cut):
            rows = rows.filter(keep(rows.column(name), bound))
        yield Keyed(rows, rows.column("offset").to_numpy())


def _bounds(file: DataFile, cut: Cut) -> Iterator[tuple[str, Any, int]]:
    if cut.since is not None:
        yield "timestamp", compute.greater_equal, cut.since
    if cut.until is not None:
        yield "timestamp", compute.less, cut.until
    if cut.offsets is not None:
        yield "offset", compute.less, cut.offsets.get(place_name((file.topic, file.partition)), 0)


def _by_log_time(tables: Iterator[pa.Table]) -> Iterator[Keyed]:
    """Each row counts as late as the latest before it, as with the workers: offsets stay in order where log times do not."""
    latest = -1
    for rows in tables:
        if rows.num_rows:
            keys = np.maximum(np.maximum.accumulate(rows.column("log_time").to_numpy()), latest)
            latest = int(keys[-1])
            yield Keyed(rows, keys)
