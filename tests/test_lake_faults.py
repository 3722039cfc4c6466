"""Logs that lost records or are others, damaged lakes, strange files and places: told, and nothing is harmed."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from batch.lake.storage import DamagedLake, Storage
from batch.lake.syncing import BatchSize, sync
from schemas.errors import InvalidInput, LayoutMismatch
from schemas.topics import CLICKS, ITEMS
from tests.lake_world import (
    NOW,
    ListLog,
    in_lake,
    in_log,
    lake_at,
    mixed_log,
    on_disk,
)

pytestmark = pytest.mark.usefixtures("without_power_cuts")

SMALL = BatchSize(records=8)


def test_what_retention_took_is_told_and_noted(tmp_path: Path) -> None:
    log, said, lake = ListLog(), [], lake_at(tmp_path)
    for _ in range(10):
        log.event()
    sync(lake, log, NOW)
    for _ in range(10):
        log.event()
    log.starts[CLICKS, 0] = 14
    report = sync(lake, log, NOW, say=said.append)
    assert (report[CLICKS].events, report[CLICKS].lost) == (6, 4)
    assert "clicks-0: offsets 10 to 13 (4) are in neither log nor lake" in said[0]
    commit = orjson.loads((tmp_path / "_commits/clicks-0-00000000000000000010.json").read_bytes())
    assert (commit["first"], commit["last"], commit["lost"]) == (10, 19, 4)
    assert commit["files"][0]["path"].endswith("clicks-0-00000000000000000014-00000000000000000019.parquet")
    assert lake.load().progress[CLICKS, 0].lost == 4
    assert sync(lake, log, NOW, say=said.append)[CLICKS].lost == 0
    assert len(said) == 1


def test_a_log_of_which_nothing_is_left_is_no_endless_loss(tmp_path: Path) -> None:
    log, lake = ListLog(), lake_at(tmp_path)
    log.records[CLICKS, 0] = []
    log.starts[CLICKS, 0] = 5
    assert sync(lake, log, NOW)[CLICKS].lost == 5
    assert sync(lake, log, NOW)[CLICKS].lost == 0
    log.event(log={"offset": 5})
    assert sync(lake, log, NOW)[CLICKS].events == 1


def test_offsets_without_records_are_nothing_lost(tmp_path: Path) -> None:
    log, said, lake = ListLog(), [], lake_at(tmp_path)
    for offset in (2, 3, 7, 12):  # compaction took the others, and the log's start stays at 0
        log.append(ITEMS, {"item_id": str(offset)}, str(offset), offset=offset)
    sync(lake, log, NOW, say=said.append, size=BatchSize(records=3))
    assert in_lake(lake) == in_log(log)
    assert said == []
    assert lake.load().progress[ITEMS, 0].end == 13


def test_another_log_is_refused_before_anything_is_added(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    sync(lake, mixed_log(30), NOW)
    before = on_disk(tmp_path)
    shorter, renewed, gone = mixed_log(12), mixed_log(60), mixed_log(30)
    renewed.ids[CLICKS] = "id of another"
    del gone.records[CLICKS, 0], gone.records[CLICKS, 1]
    for log, said in (
        (shorter, "ends at offset 2, the lake has offsets to"),
        (renewed, "another one"),
        (gone, "is not in this Kafka"),
    ):
        with pytest.raises(InvalidInput, match=said):
            sync(lake, log, NOW)
        assert on_disk(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 1}'])
def test_a_damaged_commit_is_named(tmp_path: Path, content: bytes) -> None:
    lake, log = lake_at(tmp_path), mixed_log(30)
    sync(lake, log, NOW, size=SMALL)
    (tmp_path / "_commits/clicks-1-00000000000000000000.json").write_bytes(content)
    with pytest.raises(DamagedLake, match=r"_commits/clicks-1-00000000000000000000\.json cannot be read"):
        sync(lake, log, NOW)


def test_a_missing_commit_is_named(tmp_path: Path) -> None:
    lake, log = lake_at(tmp_path), mixed_log(60)
    sync(lake, log, NOW, size=SMALL)
    (tmp_path / "_commits/clicks-1-00000000000000000000.json").unlink()
    with pytest.raises(DamagedLake, match="no commit of clicks-1 for offsets 0 to 7"):
        lake.load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    lake, log = lake_at(tmp_path), mixed_log(10)
    sync(lake, log, NOW)
    path = next(tmp_path.glob("topic=clicks/*/*.parquet"))
    path.unlink()
    with pytest.raises(DamagedLake, match=f"{path.name} is missing"):
        sync(lake, log, NOW)


def test_a_lake_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    lake, log = lake_at(tmp_path), mixed_log(10)
    sync(lake, log, NOW)
    path = next((tmp_path / "_commits").iterdir())
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "version": 2}))
    with pytest.raises(LayoutMismatch, match="update Freshet"):
        lake.load()


def test_a_file_of_someone_else_stays_where_it_is(tmp_path: Path) -> None:
    lake, log = lake_at(tmp_path), mixed_log(10)
    sync(lake, log, NOW)
    notes = next(tmp_path.glob("topic=clicks/*")) / "notes.txt"
    notes.write_text("mine")
    sync(lake, log, NOW)
    assert notes.read_text() == "mine"


def test_an_unknown_kind_of_place_is_refused() -> None:
    with pytest.raises(InvalidInput, match="nowhere://x"):
        Storage("nowhere://x")
