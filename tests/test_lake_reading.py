"""What models and other tools read: every event once, in the order of the log or of time; damage and emptiness are said."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.lake import storage
from batch.lake.compacting import compact
from batch.lake.event_log import LogRecord
from batch.lake.merging import Keyed, Stream, merge
from batch.lake.reading import Cut, Lake, as_dataset, ends_of, interactions, open_lake, read_catalogue, read_rows
from batch.lake.storage import DamagedLake
from batch.lake.syncing import BatchSize, sync
from schemas.errors import InvalidInput
from schemas.topics import CLICKS, EVENT_TOPICS, FEEDBACK, ITEMS, USERS, VIEWS
from tests.lake_world import DAY, NOW, ListLog, mixed_log

HOUR = 3_600_000


@pytest.fixture(autouse=True)
def without_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk takes most of the time, and nobody pulls the plug here."""
    monkeypatch.setattr(storage, "sync_to_disk", lambda path: None)


def filled(folder: Path, log: ListLog, records: int = 4) -> Lake:
    lake = open_lake(str(folder))
    sync(lake, log, NOW, size=BatchSize(records=records))
    return lake


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


def taken(lake: Lake, **given: Any) -> list[tuple[str, str, int]]:
    log = interactions(lake, **given).log
    ids = log.catalogue.ids
    return [(log.user_ids[u], ids[i], t) for u, i, t in zip(log.users, log.items, log.timestamps.tolist(), strict=True)]


def test_interactions_are_what_speaks_for_an_item_in_the_order_of_time(tmp_path: Path) -> None:
    log = ListLog()
    start = log.time - DAY
    for n, (topic, kind) in enumerate(
        [(CLICKS, None), (VIEWS, None), *((FEEDBACK, k) for k in ("like", "dislike", "hide", "purchase"))]
    ):
        log.event("u", f"i{n}", topic, at=start - n, **({} if kind is None else {"type": kind}))
    log.event("v", "i0", FEEDBACK, at=start + 5, type="rating", value=4.5)
    log.append(ITEMS, {"item_id": "i9", "title": "Alien", "attributes": {"year": 1979}, "categories": ["Horror"]}, "i9")
    lake = filled(tmp_path, log)
    assert taken(lake) == [
        ("u", "i5", start - 5),
        ("u", "i2", start - 2),
        ("u", "i1", start - 1),
        ("u", "i0", start),
        ("v", "i0", start + 5),
    ]
    found, offsets = interactions(lake)
    assert (found.user_ids, found.catalogue.ids) == (("u", "v"), ("i5", "i2", "i1", "i0", "i9"))
    assert found.ratings[:-1].tolist() == pytest.approx([np.nan] * 4, nan_ok=True)
    assert found.ratings[-1] == np.float32(4.5)
    assert found.catalogue.titles[-1] == "Alien"
    assert (found.catalogue.years[-1], found.catalogue.categories[-1]) == (1979, ("Horror",))
    assert found.catalogue.first_seen.tolist() == [start - 5, start - 2, start - 1, start, log.time]
    assert offsets == {"views-0": 1, "clicks-0": 1, "feedback-0": 5, "items-0": 1}


def test_a_model_knows_its_cut_and_reads_the_same_again(tmp_path: Path) -> None:
    log = mixed_log(45)
    lake = filled(tmp_path, log)
    before, offsets = interactions(lake)
    log.event("late", "99", at=log.time - 50 * DAY)
    log.append(ITEMS, {"item_id": "late"}, "late")
    sync(lake, log, NOW)
    compact(lake, NOW, grace_ms=0)
    again, _ = interactions(lake, offsets=offsets)
    assert again.catalogue.ids == before.catalogue.ids
    assert [column.tolist() for column in again[:3]] == [column.tolist() for column in before[:3]]
    assert len(taken(lake)) == before.size + 1
    half = int(before.timestamps[before.size // 2])
    assert taken(lake, offsets=offsets, until=half) == [row for row in taken(lake, offsets=offsets) if row[2] < half]


def test_what_producers_repeat_counts_once(tmp_path: Path) -> None:
    log = ListLog()
    at = log.time - DAY
    log.event("u", "1", at=at, event_id="e")
    log.event("u", "2", VIEWS, at=at + 1, event_id="e")  # the same id in another topic
    log.event("v", "3", at=at + 2, event_id="e")  # of another person
    log.event("u", "4", at=at + 3)  # without an id each counts
    log.event("u", "4", at=at + 3)
    lake = filled(tmp_path, log)
    assert [row[:2] for row in taken(lake)] == [("u", "1"), ("v", "3"), ("u", "4"), ("u", "4")]


def test_an_event_id_is_known_as_long_as_the_workers_know_it(tmp_path: Path) -> None:
    log = ListLog()
    log.time -= log.time % HOUR
    for hours, name in ((0, "a"), (25, "b"), (0, "a"), (1, "c"), (0, "a")):
        log.event("u", name, log={"log_time": log.time + hours * HOUR}, event_id=name)
    lake = filled(tmp_path, log)
    assert [row[1] for row in taken(lake)] == ["a", "b", "c", "a"]
    assert [row[1] for row in taken(lake, dedupe_hours=30)] == ["a", "b", "c"]


def test_of_a_record_and_its_forwarded_copies_one_counts(tmp_path: Path) -> None:
    log = ListLog()
    at = log.time - DAY
    log.event("u", "1", at=at)
    for _ in range(2):  # a worker died between sending and committing
        log.event("u", "1", partition=1, at=at, log={"origin": "clicks:0:0"})
    log.event("u", "2", partition=1, at=at + 1, log={"origin": "clicks:3:8"})  # the original is not in the lake
    log.event("u", "2", partition=1, at=at + 1, log={"origin": "clicks:3:8"})
    log.event("u", "3", FEEDBACK, at=at + 2, type="like")
    log.event("u", "3", FEEDBACK, 1, at=at + 2, type="like", log={"origin": "feedback:0:0"})
    log.event("u", "3", FEEDBACK, 1, at=at + 3, type="like", undo=True)
    assert [row[1] for row in taken(filled(tmp_path, log))] == ["1", "2"]


def test_who_was_forgotten_is_not_learnt_from(tmp_path: Path) -> None:
    log = ListLog()
    log.event("u", "1")
    log.event("v", "2")
    log.append(USERS, None, "u")
    log.event("u", "3")
    lake = filled(tmp_path, log)
    assert [row[:2] for row in taken(lake)] == [("v", "2"), ("u", "3")]
    assert [row[:2] for row in taken(lake, offsets={"clicks-0": 2})] == [("v", "2")]  # an older cut does not bring them back


SAID = st.lists(
    st.tuples(st.sampled_from("uv"), st.sampled_from("12"), st.sampled_from(["like", "rating"]), st.integers(0, 5), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SAID)
def test_an_undo_takes_back_the_newest_that_is_not_newer_than_itself(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, str, str, int, bool]]
) -> None:
    log = ListLog(partitions=1)
    left: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    base = log.time - DAY
    log.event("w", "9", at=base - 1)
    for user, item, kind, time, undo in said:
        log.event(user, item, FEEDBACK, at=base + time, type=kind, undo=undo)
        earlier = [t for t in left[user, item, kind] if t <= base + time]
        if not undo:
            left[user, item, kind].append(base + time)
        elif earlier:
            left[user, item, kind].remove(max(earlier))
    lake = open_lake(f"memory://{tmp_path_factory.mktemp('undo').name}")
    sync(lake, log, NOW)
    wanted = sorted([("w", "9", base - 1), *((u, i, t) for (u, i, _), times in left.items() for t in times)])
    assert sorted(taken(lake)) == wanted


def test_the_newest_record_of_an_item_counts(tmp_path: Path) -> None:
    log = ListLog()
    log.event("u", "gone", at=log.time - DAY)
    for title in ("old", "new"):
        log.append(ITEMS, {"item_id": "7", "title": title, "created_at": "2020-01-01T00:00:00Z", "categories": ["a", "a"]}, "7")
    log.append(ITEMS, {"item_id": "gone", "title": "x"}, "gone")
    log.append(ITEMS, {"item_id": "back"}, "back")
    for name in ("gone", "back", "never taken"):
        log.append(ITEMS, None, name)
    log.append(ITEMS, {"item_id": "back", "title": "again"}, "back")
    catalogue = interactions(filled(tmp_path, log)).log.catalogue
    assert (catalogue.ids, catalogue.titles) == (("gone", "7", "back"), ("", "new", "again"))
    assert catalogue.categories == ((), ("a",), ())
    assert catalogue.first_seen.tolist()[:2] == [log.records[CLICKS, 0][0].log_time - DAY - 1000, 1_577_836_800_000]
