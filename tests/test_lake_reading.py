"""What models and other tools read: every event once, in the order of the log or of time; damage and emptiness are said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.lake.compacting import compact
from batch.lake.event_log import LogRecord
from batch.lake.merging import Keyed, Stream, merge
from batch.lake.reading import Cut, as_dataset, ends_of, interactions, open_lake, read_catalogue, read_rows
from batch.lake.storage import DamagedLake
from batch.lake.syncing import sync
from schemas.errors import InvalidInput
from schemas.topics import CLICKS, EVENT_TOPICS, ITEMS, VIEWS
from tests.lake_world import DAY, NOW, ListLog, filled, mixed_log

pytestmark = pytest.mark.usefixtures("without_power_cuts")


def expected_order(log: ListLog) -> list[LogRecord]:
    """The events in the order of the log, by the plainest way: one step after the other."""
    left = {place: [r for r in log.records[place] if r.value != b"not json"] for place in sorted(log.records, key=order_of)}
    latest = dict.fromkeys(left, -1)
    ordered = []
    while any(left.values()):
        heads = [(max(latest[place], records[0].log_time), order_of(place), place) for place, records in left.items() if records]
        time, _, place = min(heads)
        latest[place] = time
        ordered.append(left[place].pop(0))
    return ordered


def order_of(place: tuple[str, int]) -> tuple[int, int]:
    return EVENT_TOPICS.index(place[0]), place[1]


@pytest.mark.parametrize("compacted", [False, True])
def test_rows_come_in_the_order_of_the_log(tmp_path: Path, compacted: bool) -> None:
    log = mixed_log(90)
    for records in log.records.values():  # some moments the same, some clocks that went back
        records[:] = [r._replace(log_time=r.log_time - r.log_time % 3000 - (5000 if r.offset % 7 == 6 else 0)) for r in records]
    lake = filled(tmp_path, log)
    if compacted:
        compact(lake, NOW, grace_ms=0)
    rows = pa.concat_tables(read_rows(lake, EVENT_TOPICS, ["topic", "partition", "offset"])).to_pylist()
    assert [(r["topic"], r["partition"], r["offset"]) for r in rows] == [
        (r.topic, r.partition, r.offset) for r in expected_order(log)
    ]


@given(st.lists(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5), max_size=4))
def test_merging_is_a_stable_sort(streams: list[list[list[int]]]) -> None:
    """Whatever pieces the streams come in."""
    pieces, plain = [], []
    for at, stream in enumerate(streams):
        keys = sorted(key for piece in stream for key in piece)
        chunks, start = [], 0
        for piece in stream:
            part = keys[start : start + len(piece)]
            chunks.append(Keyed(pa.table({"s": [at] * len(part), "n": range(start, start + len(part))}), np.array(part, np.int64)))
            start += len(piece)
        pieces.append(Stream(iter(chunks), 0))
        plain += [(key, at, n) for n, key in enumerate(keys)]
    merged = [(int(k), r["s"], r["n"]) for rows, keys in merge(pieces) for k, r in zip(keys, rows.to_pylist(), strict=True)]
    assert merged == sorted(plain)


def test_a_cut_of_time_or_offsets(tmp_path: Path) -> None:
    log = ListLog()
    for n in range(20):
        log.event(at=log.time - (n % 5) * DAY)
    lake = filled(tmp_path, log)
    times = [row["timestamp"] for piece in read_rows(lake, [CLICKS]) for row in piece.to_pylist()]
    since, until = sorted(times)[4], sorted(times)[13]
    read = [row["timestamp"] for piece in read_rows(lake, [CLICKS], ["timestamp"], Cut(since, until)) for row in piece.to_pylist()]
    assert read == [time for time in times if since <= time < until]
    assert len(read) == 9
    offsets = [row["offset"] for piece in read_rows(lake, [CLICKS], cut=Cut(offsets={"clicks-0": 7})) for row in piece.to_pylist()]
    assert offsets == list(range(7))


def test_wrong_topics_and_columns_are_named(tmp_path: Path) -> None:
    lake = filled(tmp_path, mixed_log(3))
    for topics, columns, said in (
        (["clics"], None, r"\['clics'\]: the lake has views, clicks"),
        ([], None, "the lake has"),
        ([CLICKS, ITEMS], None, "different columns"),
        ([CLICKS], ["user"], "no column 'user'; clicks has topic, partition"),
    ):
        with pytest.raises(InvalidInput, match=said):
            list(read_rows(lake, topics, columns))


def test_duckdb_reads_the_folders(tmp_path: Path) -> None:
    log = mixed_log(60)
    filled(tmp_path, log)
    query = "SELECT day, user_id, item_id, event_id, timestamp, topic FROM read_parquet(?, hive_partitioning=true) ORDER BY ALL"
    found = duckdb.execute(query, [f"{tmp_path}/topic=clicks/**/*.parquet"]).fetchall()
    events = [row for piece in read_rows(open_lake(str(tmp_path)), [CLICKS]) for row in piece.to_pylist()]
    assert len(found) == 20
    assert sorted(row[1:] for row in found) == sorted(
        (e["user_id"], e["item_id"], e["event_id"], e["timestamp"], e["topic"]) for e in events
    )
    days = duckdb.execute(
        "SELECT bool_and(day = make_timestamp(timestamp * 1000)::DATE), any_value(typeof(day)) "
        "FROM read_parquet(?, hive_partitioning=true)",
        [f"{tmp_path}/topic=clicks/**/*.parquet"],
    ).fetchall()
    assert days == [(True, "DATE")]


def test_arrow_reads_a_data_set_with_the_folders_as_columns(tmp_path: Path) -> None:
    lake = filled(tmp_path, mixed_log(30))
    table = as_dataset(lake, CLICKS).to_table()
    assert (table.num_rows, set(table.column("topic").to_pylist())) == (10, {"clicks"})
    assert as_dataset(lake, VIEWS, invalid=True).to_table().column("reason").to_pylist() == ["not_json"]
    assert as_dataset(lake, ITEMS).to_table().num_rows == 0
    memory = open_lake("memory://test-lake-dataset")
    sync(memory, mixed_log(30), NOW)
    assert as_dataset(memory, CLICKS).to_table().num_rows == 10


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:8] + bytes(len(b) - 16) + b[-8:]])
def test_a_damaged_file_is_named(tmp_path: Path, damage: Any) -> None:
    lake = filled(tmp_path, mixed_log(30))
    path = next(tmp_path.glob("topic=clicks/*/*.parquet"))
    path.write_bytes(damage(path.read_bytes()))
    for read in (lambda: list(read_rows(lake, [CLICKS])), lambda: interactions(lake), lambda: compact(lake, NOW)):
        with pytest.raises(DamagedLake, match=f"{path.name} cannot be read.*build it anew from the log"):
            read()


def test_a_file_that_was_exchanged_is_named(tmp_path: Path) -> None:
    lake = filled(tmp_path, mixed_log(30), records=3)
    first, second, *_ = sorted(lake.load().files.values(), key=lambda file: (file.rows, file.path))[:: len(lake.load().files) - 1]
    assert first.rows != second.rows
    (tmp_path / first.path).write_bytes((tmp_path / second.path).read_bytes())
    with pytest.raises(DamagedLake, match=f"has {second.rows} rows, {first.rows} were written"):
        list(lake.read(first, ["offset"]))


def test_an_empty_lake(tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / "none"))
    assert list(read_rows(lake, EVENT_TOPICS)) == []
    assert read_catalogue(lake) == {}
    assert ends_of(lake.load()) == {}
    with pytest.raises(InvalidInput, match=r"no events to learn from: fill it with `freshet lake sync`"):
        interactions(lake)
    full = filled(tmp_path / "some", mixed_log(9))
    with pytest.raises(InvalidInput, match=r"no events to learn from before 1990-01-01T00:00:00\.000Z"):
        interactions(full, until=631_152_000_000)
