"""The lake holds every record of the log exactly once, whatever kills a sync, and says clearly when it cannot."""

from __future__ import annotations

import threading
from pathlib import Path

import orjson
import pytest

from batch.lake import syncing
from batch.lake.event_log import LogRecord
from batch.lake.lake import Lake
from batch.lake.storage import LakeBusy, LakeUnavailable, Storage
from batch.lake.syncing import BatchSize, sync
from schemas.topics import CLICKS, FEEDBACK, IMPRESSIONS, ITEMS, USERS, VIEWS
from tests.lake_world import (
    DAY,
    NOW,
    DyingStorage,
    FullStorage,
    Killed,
    ListLog,
    in_lake,
    in_log,
    lake_at,
    mixed_log,
    on_disk,
    rows_of,
)

pytestmark = pytest.mark.usefixtures("without_power_cuts")

SMALL = BatchSize(records=8)


def test_files_lie_by_topic_and_day_and_name_their_offsets(tmp_path: Path) -> None:
    log = ListLog()
    for n in range(3):
        log.event(at=1_767_225_600_000 - 1 + n)  # the last millisecond of a year, and two more
    sync(lake_at(tmp_path), log, NOW, size=BatchSize(records=2))
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    assert found == [
        "topic=clicks/day=2025-12-31/clicks-0-00000000000000000000-00000000000000000001.parquet",
        "topic=clicks/day=2026-01-01/clicks-0-00000000000000000000-00000000000000000001.parquet",
        "topic=clicks/day=2026-01-01/clicks-0-00000000000000000002-00000000000000000002.parquet",
    ]
    assert [path.name for path in sorted((tmp_path / "_commits").iterdir())] == [
        "clicks-0-00000000000000000000.json",
        "clicks-0-00000000000000000002.json",
    ]


def test_an_event_keeps_everything_it_says(tmp_path: Path) -> None:
    log = ListLog()
    record = log.event(
        "ü", "7", FEEDBACK, at="2026-01-01T10:00:00+01:00", type="rating", value=4, undo=False, event_id="e", session_id="s",
        request_id="r", position=3, context={"device": "tv", "n": 1}, mood="good", log={"origin": "feedback:1:9"},
    )  # fmt: skip
    sync(lake_at(tmp_path), log, NOW)
    assert rows_of(tmp_path, FEEDBACK) == [
        {
            "partition": 0, "offset": 0, "key": "ü", "timestamp": 1_767_258_000_000, "log_time": record.log_time,
            "origin": "feedback:1:9", "event_id": "e", "type": "rating", "user_id": "ü", "item_id": "7",
            "value": 4.0, "undo": False, "session_id": "s", "request_id": "r", "position": 3,
            "context": '{"device":"tv","n":1}', "extra": '{"mood":"good"}',
        }
    ]  # fmt: skip


def test_what_a_column_cannot_hold_is_kept_beside_it(tmp_path: Path) -> None:
    log = ListLog()
    log.append(
        FEEDBACK,
        b'{"user_id":"u","item_id":"7","timestamp":%d,"type":"rating","value":1e300,"position":%d}' % (NOW - 40 * DAY, 10**30),
    )
    sync(lake_at(tmp_path), log, NOW)
    (row,) = rows_of(tmp_path, FEEDBACK)
    assert (row["value"], row["position"]) == (None, None)
    assert orjson.loads(str(row["extra"])).keys() == {"value", "position"}


def test_catalogue_profiles_and_slates_have_columns_of_their_own(tmp_path: Path) -> None:
    log = ListLog()
    item = {
        "item_id": "7",
        "title": "Alien",
        "categories": ["Horror"],
        "tags": ["space"],
        "price": 2**60,
        "attributes": {"year": 1979},
    }
    log.append(ITEMS, {**item, "created_at": "2026-01-01T00:00:00Z", "maker": "x"}, "7")
    log.append(ITEMS, None, "7")
    log.append(USERS, {"user_id": "u", "groups": ["g"], "attributes": {"age": 3}}, "u")
    log.append(USERS, None, "u")
    shown = [
        {"item_id": "7", "position": 0, "score": 2**60, "propensity": 0.5},
        {"item_id": "8", "position": 1, "source": "trending"},
    ]
    log.append(
        IMPRESSIONS,
        {"request_id": "r", "user_id": "u", "timestamp": NOW - 40 * DAY, "items": shown, "experiment": {"arm": "a"}},
        "u",
    )
    sync(lake_at(tmp_path), log, NOW)
    first, deleted = rows_of(tmp_path, ITEMS)
    assert (first["title"], first["categories"], first["tags"], first["price"]) == ("Alien", ["Horror"], ["space"], float(2**60))
    assert (first["attributes"], first["created_at"], first["extra"]) == ('{"year":1979}', 1_767_225_600_000, '{"maker":"x"}')
    assert (deleted["item_id"], deleted["deleted"]) == ("7", True)
    profile, gone = rows_of(tmp_path, USERS)
    assert (profile["groups"], profile["attributes"], profile["deleted"], gone["deleted"]) == (["g"], '{"age":3}', False, True)
    (slate,) = rows_of(tmp_path, IMPRESSIONS)
    assert slate["experiment"] == '{"arm":"a"}'
    assert slate["items"] == [
        {"item_id": "7", "position": 0, "score": float(2**60), "propensity": 0.5, "source": None},
        {"item_id": "8", "position": 1, "score": None, "propensity": None, "source": "trending"},
    ]


SLATE = b'{"request_id":"r","user_id":"u","timestamp":1767258000000,"items":[{"item_id":"7","position":%d}]}'
BAD = [
    (CLICKS, b"{", "not_json"),
    (CLICKS, None, "empty"),
    (CLICKS, b'{"user_id":"u","item_id":"7"}', "invalid"),
    (CLICKS, b'{"user_id":"u","item_id":"7","timestamp":1}', "timestamp_too_old"),
    (FEEDBACK, b'{"user_id":"u","item_id":"7","timestamp":1767258000000,"type":"adore"}', "invalid"),
    (VIEWS, b'{"user_id":"u","item_id":"7","timestamp":99999999999999}', "timestamp_in_future"),
    (VIEWS, b"x" * 70_000, "too_large"),
    (IMPRESSIONS, b'{"request_id":"r","user_id":"u","timestamp":"yesterday","items":[]}', "bad_timestamp"),
    (IMPRESSIONS, b'{"request_id":"r","user_id":"u","timestamp":1,"items":[]}', "timestamp_too_old"),
    (IMPRESSIONS, SLATE % 10**30, "invalid"),
    (ITEMS, b'{"title":"no id"}', "invalid"),
    (ITEMS, None, "invalid"),
    (USERS, b"\xff\xfe", "not_json"),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "value", "reason"), BAD)
def test_what_is_no_event_is_kept_as_it_came_with_the_reason(tmp_path: Path, topic: str, value: bytes | None, reason: str) -> None:
    log = ListLog()
    log.append(topic, value)
    report = sync(lake_at(tmp_path), log, NOW)
    (row,) = rows_of(tmp_path, topic, invalid=True)
    assert (row["value"], row["reason"], row["offset"]) == (value, reason, 0)
    assert row["error"]
    assert (report[topic].events, report[topic].invalid) == (0, 1)
    assert rows_of(tmp_path, topic) == []


def test_records_with_wild_times_of_producers_are_kept(tmp_path: Path) -> None:
    log = ListLog()
    log.append(USERS, {"user_id": "u"}, "u", log_time=2**62, appended=False)
    log.append(CLICKS, b"", "u", log_time=2**62, appended=False)
    log.event(at=NOW + 10 * DAY, log={"log_time": NOW + 20 * DAY, "appended": False})  # the reader's clock decides
    sync(lake_at(tmp_path), log, NOW)
    assert on_disk(tmp_path) == in_log(log)
    assert [row["reason"] for row in rows_of(tmp_path, CLICKS, invalid=True)] == ["timestamp_in_future", "empty"]


def test_a_sync_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    log = mixed_log(30)
    lake = lake_at(tmp_path)
    first = sync(lake, log, NOW, size=SMALL)
    assert sum(topic.events for topic in first.values()) == 30
    assert sum(topic.invalid for topic in first.values()) == 2
    assert all(topic.files == 0 for topic in sync(lake, log, NOW, size=SMALL).values())
    log.event("late", "1", CLICKS)
    again = sync(lake, log, NOW, size=SMALL)
    assert (again[CLICKS].events, again[VIEWS].events) == (1, 0)
    assert on_disk(tmp_path) == in_log(log) == in_lake(lake)


@pytest.mark.parametrize("late", [False, True])
def test_killed_at_any_change_nothing_is_lost_or_doubled(tmp_path: Path, late: bool) -> None:
    log = mixed_log(8)
    for changes in range(1000):
        folder = tmp_path / str(changes)
        try:
            sync(Lake(DyingStorage(str(folder), changes, late)), log, NOW, size=BatchSize(records=3))
        except Killed:
            seen = on_disk(folder)
            assert max(seen.values(), default=1) == 1
            assert in_lake(lake_at(folder)) >= seen
            sync(lake_at(folder), log, NOW + 1, size=BatchSize(records=5))
            assert on_disk(folder) == in_log(log) == in_lake(lake_at(folder)), changes
            assert list((folder / "_staging").glob("*")) == []
        else:
            break
    assert changes > 30


def test_killed_again_and_again_it_still_arrives(tmp_path: Path) -> None:
    log = mixed_log(40)
    for changes in [*range(3, 30), 10_000]:
        try:
            sync(Lake(DyingStorage(str(tmp_path), changes, changes % 2 == 0)), log, NOW + changes, size=SMALL)
        except Killed:
            continue
    assert on_disk(tmp_path) == in_log(log)


def test_a_lake_that_is_no_folder_needs_no_local_files() -> None:
    lake = Lake(Storage("memory://test-lake-sync"))
    log = mixed_log(30)
    sync(lake, log, NOW, size=SMALL)
    assert in_lake(lake) == in_log(log)
    log.event("late", "1", CLICKS)
    assert sync(lake, log, NOW + 1)[CLICKS].events == 1
    assert in_lake(lake) == in_log(log)


class Meanwhile(ListLog):
    """Lets another sync come in between while this log is read for the first time."""

    def __init__(self, log: ListLog, other: Lake) -> None:
        super().__init__()
        self.__dict__.update(log.__dict__)
        self.other: Lake | None = other
        self.behind = log

    def read(self, place, start, end):  # type: ignore[no-untyped-def]
        pieces = list(super().read(place, start, end))
        if self.other is not None:
            other, self.other = self.other, None
            sync(other, self.behind, NOW, size=BatchSize(records=3))
        yield from pieces


def test_of_two_syncs_at_once_on_an_object_store_one_wins_and_none_doubles() -> None:
    lake = Lake(Storage("memory://test-lake-two"))
    log = mixed_log(40)
    sync(lake, Meanwhile(log, Lake(Storage("memory://test-lake-two"))), NOW, size=SMALL)
    assert in_lake(lake) == in_log(log)
    assert [path for path in lake.storage.sizes() if path.startswith("_staging/")] == []


def test_two_syncs_at_once_on_a_disk_wait_for_each_other(tmp_path: Path) -> None:
    log, said = mixed_log(60), []

    def one() -> None:
        lake = lake_at(tmp_path)
        with lake.locked(30, said.append):
            sync(lake, log, NOW, size=SMALL)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert on_disk(tmp_path) == in_log(log)
    assert said
    assert "waiting" in said[0]


def test_a_lake_that_is_busy_for_too_long_says_so(tmp_path: Path) -> None:
    first, second = lake_at(tmp_path), lake_at(tmp_path)
    with (
        first.locked(0, lambda line: None),
        pytest.raises(LakeBusy, match="try again later"),
        second.locked(0.2, lambda line: None),
    ):
        pass
    with second.locked(0, lambda line: None):
        assert sync(second, mixed_log(3), NOW)[CLICKS].events == 1


def test_a_full_disk_harms_nothing(tmp_path: Path) -> None:
    log = mixed_log(40)
    for room in range(40):
        with pytest.raises(LakeUnavailable, match="no space is left"):
            sync(Lake(FullStorage(str(tmp_path), room % 7)), log, NOW + room, size=SMALL)
        assert max(on_disk(tmp_path).values(), default=1) == 1
        assert list((tmp_path / "_staging").glob("*")) == []
        if on_disk(tmp_path).total() > 20:
            break
    sync(lake_at(tmp_path), log, NOW, size=SMALL)
    assert on_disk(tmp_path) == in_log(log)


def test_memory_does_not_grow_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more rows are held than a batch has, whether its bound is records or bytes."""
    most = 0
    add = syncing._Batch.add

    def watched(self: syncing._Batch, row: object, record: LogRecord) -> None:
        nonlocal most
        add(self, row, record)  # type: ignore[arg-type]
        most = max(most, sum(map(len, self.rows.values())))

    monkeypatch.setattr(syncing._Batch, "add", watched)
    log = mixed_log(90)
    sync(lake_at(tmp_path / "a"), log, NOW, size=BatchSize(records=9))
    assert most == 9
    most = 0
    sync(lake_at(tmp_path / "b"), log, NOW, size=BatchSize(bytes=500))
    assert 4 < most < 12
