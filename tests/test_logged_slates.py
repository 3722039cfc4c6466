"""From logged impressions and clicks to slates: joined by request, point in time, nothing of the future, old lakes readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from batch.lake.compacting import compact
from batch.lake.reading import as_dataset
from batch.lake.syncing import sync
from batch.slates.columns import NEVER
from batch.slates.logged import LoggedSlates, read_logged
from feature_store.feature_vectors import encoded
from schemas.errors import InvalidInput
from schemas.topics import CLICKS, IMPRESSIONS, USERS
from tests.lake_world import NOW, ListLog, filled, lake_at, rows_of

MINUTE, WINDOW = 60_000, 30 * 60_000
NAMES = "0123456789ab"


class Shop:
    """A log of impressions and clicks; times are minutes after the first."""

    def __init__(self) -> None:
        self.log = ListLog()
        self.start = NOW - 10 * 86_400_000

    def show(self, request: str, items: str, at: int, user: str = "ann", names: str | None = NAMES, **more: Any) -> None:
        texts = encoded(np.array([[ord(item), at, -1.0] for item in items], np.float32))
        told = [{"features": text} if names else {} for text in texts]
        shown = [{"item_id": item, "position": n, **told[n]} for n, item in enumerate(items)]
        named = {"feature_names": names} if names else {}
        value = {"request_id": request, "user_id": user, "timestamp": self.start + at * MINUTE, "items": shown, **named, **more}
        self.log.append(IMPRESSIONS, value, user, log_time=self.start + at * MINUTE)

    def click(self, item: str, at: int, request: str | None = None, user: str = "ann") -> None:
        value = {"user_id": user, "item_id": item, "timestamp": self.start + at * MINUTE}
        self.log.append(CLICKS, value | ({"request_id": request} if request else {}), user, log_time=self.start + at * MINUTE)

    def read(self, folder: Path) -> LoggedSlates:
        return read_logged(filled(folder, self.log), WINDOW)


def clicked(found: LoggedSlates) -> dict[str, str]:
    """What was clicked of each slate."""
    slates = found.slates
    return {
        name: "".join(sorted(slates.content.ids[item] for item in row[times != NEVER].tolist()))
        for name, row, times in zip(slates.ids, slates.items, slates.click_times, strict=True)
    }


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.show("r1", "abc", 0)
    shop.show("r2", "abd", 5)
    shop.click("x", 100)  # the log goes on: the windows of both are over
    return shop


def test_a_click_belongs_to_the_request_it_names(shop: Shop, tmp_path: Path) -> None:
    shop.click("a", 6, "r1")
    shop.click("d", 7, "r2")
    found = shop.read(tmp_path)
    assert clicked(found) == {"r1": "a", "r2": "d"}
    assert found.slates.click_times[0].min() == shop.start + 6 * MINUTE
    assert found.vectors[1, 2].tolist() == [ord("d"), 5, -1]
    assert found.places.tolist() == [[0, 1, 2]] * 2
    assert found.features == NAMES


def test_without_a_request_it_belongs_to_the_newest_slate_that_showed_it(shop: Shop, tmp_path: Path) -> None:
    shop.click("a", 8)
    shop.click("c", 9)
    shop.click("b", 3)
    shop.click("a", 8, user="bob")
    assert clicked(shop.read(tmp_path)) == {"r1": "bc", "r2": "a"}


def test_what_is_not_of_that_slate_or_time_counts_for_none(shop: Shop, tmp_path: Path) -> None:
    shop.click("a", 1, "r1")
    shop.click("d", 7, "r1")  # it was not in it
    shop.click("a", 7, "lost")  # that request's impression is not in the lake
    shop.click("b", 36, "r2")  # a minute too late
    shop.click("b", 36)
    shop.click("b", -1)
    found = shop.read(tmp_path)
    assert clicked(found) == {"r1": "a", "r2": ""}
    assert found.left_out["clicks of no impression"] == 6


def test_a_slate_without_features_keeps_its_clicks_to_itself(shop: Shop, tmp_path: Path) -> None:
    """Were only the sample asked, its click would be another slate's."""
    shop.show("plain", "ab", 10, names=None)
    shop.click("a", 11, "plain")
    shop.click("b", 11)
    shop.click("c", 1, "r1")
    assert clicked(shop.read(tmp_path)) == {"r1": "c", "r2": ""}


def test_open_windows_other_features_and_repeats_are_left_out(shop: Shop, tmp_path: Path) -> None:
    shop.click("a", 1, "r1")
    shop.show("old", "abc", -10, names="ba9876543210")
    shop.show("late", "abc", 80)
    shop.show("r1", "xyz", 20)
    found = shop.read(tmp_path)
    assert clicked(found) == {"r1": "a", "r2": ""}
    assert {why: count for why, count in found.left_out.items() if "impressions" in why and "click" not in why} == {
        "impressions with other features": 1,
        "impressions whose window is open": 1,
        "impressions that came twice": 1,
    }


def test_a_stray_producer_decides_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.click("a", 1, "r1")
    shop.show("stray", "abc", 50, names="mine")
    for odd in (np.array([[np.nan, 1, 1]] * 3, np.float32), np.ones((3, 7), np.float32)):
        texts = encoded(odd)
        items = [{"item_id": item, "position": n, "features": texts[n]} for n, item in enumerate("abc")]
        value = {"request_id": f"odd{len(texts[0])}", "user_id": "ann", "timestamp": shop.start, "items": items}
        shop.log.append(IMPRESSIONS, {**value, "feature_names": NAMES}, log_time=shop.start)
    found = shop.read(tmp_path)
    assert clicked(found) == {"r1": "a", "r2": ""}
    assert found.left_out["impressions with fewer than two items that have features"] == 2


def test_who_was_forgotten_teaches_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.show("bobs", "abc", 1, user="bob")
    shop.click("a", 2, "bobs", user="bob")
    shop.click("a", 2, "r1")
    shop.log.append(USERS, None, "bob", log_time=shop.start + 90 * MINUTE)
    found = shop.read(tmp_path)
    assert clicked(found) == {"r1": "a", "r2": ""}
    assert found.slates.session_ids == ("ann",)


def test_an_empty_lake_and_one_without_features_or_clicks_say_so(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="none of 0 impressions has features"):
        read_logged(lake_at(tmp_path / "empty"))
    with pytest.raises(InvalidInput, match="no click on any of 2 impressions"):
        shop.read(tmp_path / "idle")


@pytest.mark.parametrize("features", [7, {"a": 1}, "no base64!", None])
def test_other_producers_may_mean_something_else_by_features(features: Any, tmp_path: Path) -> None:
    log = ListLog()
    place = {"item_id": "a", "position": 0, "features": features}
    value = {"request_id": "r1", "user_id": "ann", "timestamp": log.time, "items": [place], "feature_names": features}
    log.append(IMPRESSIONS, value)
    filled(tmp_path, log)
    (row,) = rows_of(tmp_path, IMPRESSIONS)
    assert row["items"] == [{"item_id": "a", "position": 0, "score": None, "propensity": None, "source": None}]
    assert row["features"] in (None, [None])


def without_columns(folder: Path) -> None:
    """The files as they were written before there were features."""
    for path in folder.glob("topic=impressions/*/*.parquet"):
        table = parquet.ParquetFile(path).read()
        parquet.write_table(table.drop_columns(["feature_names", "features"]), path)


def test_files_from_before_are_read_and_compacted_with_new_ones(shop: Shop, tmp_path: Path) -> None:
    lake = filled(tmp_path, shop.log)
    without_columns(tmp_path)
    with pytest.raises(InvalidInput, match="none of 2 impressions has features"):
        read_logged(lake, WINDOW)
    shop.show("r3", "abc", 40)
    shop.click("a", 41, "r3")
    shop.click("x", 200)
    sync(lake, shop.log, NOW)
    assert clicked(read_logged(lake, WINDOW)) == {"r3": "a"}
    assert as_dataset(lake, IMPRESSIONS).to_table().column("features").null_count == 2
    assert compact(lake, NOW + 1).merged > 1
    assert clicked(read_logged(lake, WINDOW)) == {"r3": "a"}
    assert as_dataset(lake, IMPRESSIONS).to_table().num_rows == 3
