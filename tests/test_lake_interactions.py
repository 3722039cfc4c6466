"""What models learn from the lake: what speaks for an item, once, in the order of time, of people who may be learnt from."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.lake.compacting import compact
from batch.lake.reading import Lake, interactions, open_lake
from batch.lake.syncing import sync
from schemas.topics import CLICKS, FEEDBACK, ITEMS, USERS, VIEWS
from tests.lake_world import DAY, HOUR, NOW, ListLog, filled, mixed_log

pytestmark = pytest.mark.usefixtures("without_power_cuts")


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
