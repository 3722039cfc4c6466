"""From files and data sets to the columns that models are judged on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.evaluate_source import Asked, as_interactions, catalogue, open_stream
from ops.event_rows import interaction
from schemas.errors import InvalidInput
from schemas.events import EventType


def _rows(tmp_path: Path, name: str, text: str, **columns: str) -> Any:
    path = tmp_path / name
    path.write_text(text)
    return open_stream(Asked(str(path), columns=columns), None).interactions()


@pytest.mark.parametrize(
    "header", ["user_id,item_id,ts", "userId,movieId,timestamp", "user,item,time", "reviewerID,asin,unixReviewTime"]
)
@pytest.mark.parametrize("time", ["1362062308", "1362062308000", "2013-02-28T14:38:28Z"])
def test_usual_columns_and_times_are_understood(tmp_path: Path, header: str, time: str) -> None:
    batch = _rows(tmp_path, "log.csv", f"{header}\nu,i,{time}\n")
    assert (batch.users, batch.items, batch.timestamps.tolist()) == (["u"], ["i"], [1362062308000])
    user, item, when = header.split(",")
    batch = _rows(tmp_path, "log.jsonl", json.dumps({user: "u", item: 7, when: time}))
    assert (batch.users, batch.items, batch.timestamps.tolist()) == (["u"], ["7"], [1362062308000])


def test_own_columns_types_and_ratings(tmp_path: Path) -> None:
    chosen = {"user": "who", "item": "what", "time": "when", "value": "stars", "type": "kind"}
    table = "who\twhat\twhen\tstars\tkind\nu\ti\t1362062308\t4.5\trating\nu\tj\t1362062309\t\tpurchase\n"
    lines = [
        {"who": "u", "what": "i", "when": 1362062308, "stars": 4.5, "kind": "rating", "context": {"device": "tv", "age": 4}},
        {"who": "u", "what": "j", "when": 1362062309, "kind": "purchase"},
    ]
    for name, text in (("log.tsv", table), ("log.jsonl", "\n".join(map(json.dumps, lines)))):
        batch = _rows(tmp_path, name, text, **chosen)
        assert batch.types.tolist() == [EventType.RATING, EventType.PURCHASE]
        assert batch.values[0] == pytest.approx(4.5)
        assert np.isnan(batch.values[1])
    assert batch.contexts == [("age=4", "device=tv"), ()]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no column for user \(user: 'who'\); columns found: user, item, ts"):
        _rows(tmp_path, "log.csv", "user,item,ts\nu,i,1362062308\n", user="who")
    with pytest.raises(InvalidInput, match=r"line 1: no user \('who'\) among the fields user, item, ts"):
        _rows(tmp_path, "log.jsonl", '{"user":"u","item":"i","ts":1362062308}', user="who")


def test_lines_of_items_in_a_json_file_are_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines: list[dict[str, Any]] = [
        {"item_id": "i", "title": "T", "categories": ["c"], "attributes": {"year": 1999}},
        {"user": "u", "item": "i", "ts": 1362062308},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    opened = open_stream(Asked(str(path)), None)
    assert opened.size == 1
    assert catalogue(opened.source) == [("i", ["c"], "T (1999)")]


def test_films_count_from_four_stars_on_unless_asked_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "ml-latest-small"
    folder.mkdir()
    rows = ["1,10,4.0,964982703", "1,20,3.5,964982704", "2,10,5.0,964982705"]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]))
    (folder / "movies.csv").write_text('movieId,title,genres\n10,"Net, The (1995)",Crime\n')
    (folder / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,10,hackers,1\n")
    usual = open_stream(Asked("ml-latest-small"), tmp_path)
    assert (usual.size, usual.low_ratings, usual.least_rating) == (2, 1, 4.0)
    assert usual.interactions().items == ["10", "10"]
    assert open_stream(Asked("ml-latest-small", least_rating=1.0), tmp_path).size == 3
    assert open_stream(Asked("ml-latest-small", limit=1), tmp_path).interactions().users == ["1"]
    assert catalogue(usual.source) == [("10", ["Crime"], "Net, The (1995)")]  # without tags: they were given later


def test_views_clicks_feedback_and_undo_become_columns() -> None:
    events = [
        interaction("view", "e1", "u", "i", 1362062308000, None, {}),
        interaction("dislike", "e2", "u", "i", 1362062308000, None, {"undo": True}),
        interaction("purchase", "e3", "u", "i", 1362062308000, 9.5, {}),
    ]
    batch = as_interactions(events)
    assert batch.types.tolist() == [EventType.VIEW, EventType.DISLIKE, EventType.PURCHASE]
    assert batch.undo.tolist() == [False, True, False]
    assert np.isnan(batch.values).all()  # a price is no rating


def test_the_columns_of_the_warm_up_stop_before_later_events() -> None:
    opened = open_stream(Asked("synthetic:1000"), None)
    read = 0

    def counted() -> Any:
        nonlocal read
        for event in opened.source.events():
            read += 1
            yield event

    class Watched:
        events = staticmethod(counted)

    watched = opened._replace(source=Watched())  # type: ignore[arg-type]
    assert len(watched.interactions(200).users) == 200
    assert read == 200 + sum(event.topic == "impressions" for event in list(opened.source.events())[:read])
