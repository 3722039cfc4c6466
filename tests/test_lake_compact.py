"""Compaction changes the files and nothing else, whatever kills it and whoever reads meanwhile; it is where users are forgotten."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from batch.lake.compacting import compact
from batch.lake.forgotten import forgotten_users, hidden_id, salt_of
from batch.lake.lake import Lake
from batch.lake.rows import read_rows
from batch.lake.storage import LakeBusy, Storage
from batch.lake.syncing import BatchSize, sync
from schemas.topics import CLICKS, FEEDBACK, IMPRESSIONS, USERS, VIEWS
from tests.lake_world import (
    DAY,
    HOUR,
    NOW,
    DyingStorage,
    Killed,
    ListLog,
    filled,
    in_lake,
    in_log,
    mixed_log,
    on_disk,
)

pytestmark = pytest.mark.usefixtures("without_power_cuts")


def rows_of(lake: Lake, topics: tuple[str, ...] = (VIEWS, CLICKS, FEEDBACK)) -> pa.Table:
    return pa.concat_tables(read_rows(lake, topics))


def test_small_files_become_one_for_each_topic_day_and_partition(tmp_path: Path) -> None:
    log = mixed_log(60)
    lake = filled(tmp_path, log, 3)
    before = rows_of(lake)
    report = compact(lake, NOW)
    folders = [
        (path.parent, path.name.split("-")[1]) for path in tmp_path.rglob("topic=*/*/*.parquet") if "_superseded" not in path.parts
    ]
    assert len(folders) == len(set(folders))
    assert (report.merged > 2 * report.written, report.forgotten, report.deleted) == (True, 0, 0)
    assert on_disk(tmp_path) == in_log(log) == in_lake(lake)
    assert rows_of(lake).equals(before)
    assert compact(lake, NOW)[:3] == (0, 0, 0)


def test_a_compacted_lake_goes_on(tmp_path: Path) -> None:
    log = mixed_log(30)
    lake = filled(tmp_path, log, 3)
    compact(lake, NOW)
    for n in range(10):
        log.event(f"late{n}", "1", partition=n % 2)
    sync(lake, log, NOW + 1, size=BatchSize(records=3))
    compact(lake, NOW + 2, grace_ms=0)
    log.event("last", "1")
    sync(lake, log, NOW + 3, size=BatchSize(records=3))
    assert on_disk(tmp_path) == in_log(log) == in_lake(lake)


def test_files_that_are_large_enough_are_left_alone(tmp_path: Path) -> None:
    lake = filled(tmp_path, mixed_log(30), 3)
    smallest = min(file.bytes for file in lake.load().files.values())
    assert compact(lake, NOW, largest_bytes=smallest)[:3] == (0, 0, 0)


@pytest.mark.parametrize("late", [False, True])
def test_killed_at_any_change_nothing_has_happened_or_all(tmp_path: Path, late: bool) -> None:
    log = ListLog()
    for n in range(14):
        log.event(f"u{n}", topic=(CLICKS, VIEWS)[n % 2], partition=n // 2 % 2, at=NOW - 40 * DAY)
    for changes in range(1000):
        folder = tmp_path / str(changes)
        lake = filled(folder, log, 3)
        try:
            compact(Lake(DyingStorage(str(folder), changes, late)), NOW + 1, grace_ms=0)
        except Killed:
            assert max(on_disk(folder).values()) == 1, changes
            assert in_lake(lake) == in_log(log)
            if changes % 2:
                compact(lake, NOW + 2, grace_ms=0)
            else:
                sync(lake, log, NOW + 2)
            assert on_disk(folder) == in_log(log) == in_lake(lake), changes
        else:
            break
    assert changes > 15


def test_who_reads_meanwhile_reads_on(tmp_path: Path) -> None:
    log = mixed_log(60)
    lake = filled(tmp_path, log, 3)
    whole = rows_of(lake)
    reading = read_rows(lake, (VIEWS, CLICKS, FEEDBACK))
    pieces = [next(reading)]
    compact(lake, NOW, grace_ms=HOUR)
    compact(lake, NOW + HOUR - 1, grace_ms=HOUR)
    pieces += list(reading)
    assert pa.concat_tables(pieces).sort_by([("topic", "ascending"), ("offset", "ascending")]).num_rows == whole.num_rows
    assert pa.concat_tables(pieces).equals(whole)


def test_replaced_files_go_after_the_grace_time(tmp_path: Path) -> None:
    log = mixed_log(30)
    lake = filled(tmp_path, log, 3)
    replaced = compact(lake, NOW, grace_ms=HOUR).merged
    assert compact(lake, NOW + HOUR - 1, grace_ms=HOUR).deleted == 0
    commits = len(list((tmp_path / "_commits").iterdir()))
    assert compact(lake, NOW + HOUR, grace_ms=HOUR).deleted == replaced
    assert (len(list(tmp_path.rglob("_superseded/*/*"))), commits > 0, len(list((tmp_path / "_commits").iterdir()))) == (0, True, 0)
    assert len(list((tmp_path / "_snapshots").iterdir())) == 1
    assert on_disk(tmp_path) == in_log(log) == in_lake(lake)
    assert sync(lake, log, NOW + 2 * HOUR)[CLICKS].events == 0


def test_users_to_be_forgotten_leave_no_row_and_no_byte(tmp_path: Path) -> None:
    log = mixed_log(40)
    log.append(USERS, {"user_id": "u1", "groups": ["g"]}, "u1")
    log.append(USERS, {"user_id": "u2"}, "u2")
    log.append(IMPRESSIONS, {"request_id": "r", "user_id": "u1", "timestamp": NOW - 40 * DAY, "items": []}, "u1")
    log.append(CLICKS, b'{"user_id": "u1", "item_id": 7}', None)  # no event, but of that user
    lake = filled(tmp_path, log, 3)
    compact(lake, NOW)  # each in one file, in which others are too
    total = in_lake(lake).total()
    for user in ("u1", "u4", "nobody"):
        log.append(USERS, None, user)
    sync(lake, log, NOW)
    report = compact(lake, NOW + 1, grace_ms=0)
    assert report.forgotten == total + 3 - in_lake(lake).total() > 16
    assert on_disk(tmp_path) == in_lake(lake)
    assert set(rows_of(lake).column("user_id").to_pylist()) == {"u0", "u2", "u3"}
    assert rows_of(lake, (USERS,)).select(["user_id", "deleted"]).to_pylist() == [
        {"user_id": "u2", "deleted": False},
        *({"user_id": hidden_id(user, salt_of(lake)), "deleted": True} for user in ("u1", "u4", "nobody")),
    ]  # that they were forgotten must stay known
    for path in (path for path in tmp_path.rglob("*") if path.suffix == ".parquet"):
        rows = parquet.ParquetFile(path).read()
        assert {"u1", "u4", "nobody"}.isdisjoint([*rows.column("user_id").to_pylist(), *rows.column("key").to_pylist()]), path
    assert compact(lake, NOW + 2)[:3] == (0, 0, 0)
    assert sync(lake, log, NOW + 3)[CLICKS].events == 0  # they do not come back
    log.event("u1", "late", log={"log_time": NOW - 60 * DAY})  # from before, and read after the compaction
    sync(lake, log, NOW + 4)
    assert compact(lake, NOW + 5, grace_ms=0).forgotten == 1
    assert "late" not in rows_of(lake).column("item_id").to_pylist()
    assert [time > 0 for time in map(forgotten_users(lake).time_of, ("u1", "u2"))] == [True, False]


def test_forgetting_rewrites_only_what_holds_the_user(tmp_path: Path) -> None:
    log = ListLog()
    for day in range(4):
        log.event("u1" if day == 2 else "u2", at=log.time - day * DAY)
    lake = filled(tmp_path, log, 3)
    before = set(lake.load().files)
    log.append(USERS, None, "u1")
    sync(lake, log, NOW)
    report = compact(lake, NOW)
    assert (report.merged, report.written, report.forgotten) == (2, 1, 1), "one of clicks, and that of the wish itself"
    (gone,) = before - set(lake.load().files)
    assert gone.startswith("topic=clicks/")


def test_what_they_do_after_they_were_forgotten_stays(tmp_path: Path) -> None:
    log = ListLog()
    log.event("u1", "before")
    log.append(USERS, None, "u1")
    log.event("u1", "after")
    log.append(USERS, {"user_id": "u1", "groups": ["back"]}, "u1")
    lake = filled(tmp_path, log, 9)
    assert compact(lake, NOW, grace_ms=0).forgotten == 1
    assert rows_of(lake).column("item_id").to_pylist() == ["after"]
    assert rows_of(lake, (USERS,)).column("deleted").to_pylist() == [True, False]
    assert not [path for path in tmp_path.rglob("*.parquet") if b"before" in path.read_bytes()]


def test_a_lake_that_is_no_folder() -> None:
    log = mixed_log(30)
    lake = filled("memory://test-lake-compact", log, 3)
    log.append(USERS, None, "u1")
    sync(lake, log, NOW)
    compact(lake, NOW, grace_ms=0)
    assert 0 < in_lake(lake).total() < in_log(log).total()
    log.event("late")
    sync(lake, log, NOW + 1)
    assert compact(lake, NOW + 2, grace_ms=0).deleted > 0
    assert in_lake(lake).total() == len(in_lake(lake))


def test_of_two_compactions_at_once_on_an_object_store_one_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    log = mixed_log(30)
    lake, other = filled("memory://test-lake-compact-two", log, 3), Lake(Storage("memory://test-lake-compact-two"))
    read, come_between = Lake.read, [True]

    def reading(self: Lake, *given, **named):  # type: ignore[no-untyped-def]
        if self is lake and come_between:
            come_between.clear()
            compact(other, NOW)
        return read(self, *given, **named)

    monkeypatch.setattr(Lake, "read", reading)
    with pytest.raises(LakeBusy, match="another compaction was faster"):
        compact(lake, NOW)
    assert in_lake(lake) == in_log(log)
    compact(lake, NOW + 1, grace_ms=0)
    assert in_lake(lake) == in_log(log)
