"""Sources from files: what is read, what is refused, and what a person is told about it."""

import gzip
import os
from pathlib import Path

import orjson
import pytest

from ops.datasets import DATA_SETS, open_source
from ops.sources import SourceEvent, in_time_order, read_time
from schemas.errors import InvalidInput
from schemas.events import Item, parse_event

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
REAL = Path(os.environ["FRESHET_DATA"]) if os.environ.get("FRESHET_DATA") else SHARED
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the public data sets are not here")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a few rows of each public set."""
    films = tmp_path / "movietweetings"
    films.mkdir()
    (films / "ratings.dat").write_text("7::0111161::9::1362062400\n8::0068646::10::1362062401\n")
    (films / "movies.dat").write_text("0111161::The Shawshank Redemption (1994)::Crime|Drama\n0000001::Nameless::\n")
    lens = tmp_path / "ml-latest-small"
    lens.mkdir()
    (lens / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,10,4.0,964982703\n2,20,2.5,964981247\n")
    (lens / "movies.csv").write_text('movieId,title,genres\n10,"Net, The (1995)",Crime\n20,Odd,(no genres listed)\n')
    (lens / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,10,Hackers,1\n2,10,hackers,1\n2,10,90s,1\n")
    slates = tmp_path / "ranklens"
    slates.mkdir()
    genres = [{"name": "title", "value": "A"}, {"name": "genres", "value": ["drama"]}]
    lines = [
        {"event": "item", "item": "a", "id": "x", "timestamp": "1636907100000", "fields": genres},
        {
            "event": "ranking", "id": "r1", "user": "u", "session": "s", "timestamp": "1636907100000",
            "items": [{"id": "b"}, {"id": "a"}],
        },
        {
            "event": "interaction", "type": "click", "id": "c1", "item": "a", "ranking": "r1", "user": "u", "session": "s",
            "timestamp": "1636907105000",
        },
    ]  # fmt: skip
    (slates / "events.jsonl.gz").write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, lines))))
    return tmp_path


def _file(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return str(path)


def test_movietweetings_ratings_become_clicks_with_stable_ids(data: Path) -> None:
    source = open_source("movietweetings", data)
    first, second = source.events()
    expected = {"event_id": "mt-1", "user_id": "7", "item_id": "0111161", "timestamp": 1362062400000}
    assert first == SourceEvent("clicks", "7", expected, 1362062400000)
    assert second.value["event_id"] == "mt-2"
    assert source.count == 2
    assert "MIT" in source.licence


def test_movietweetings_catalogue_has_title_year_and_genres(data: Path) -> None:
    film, nameless = open_source("movietweetings", data).items()
    assert film == {
        "item_id": "0111161",
        "title": "The Shawshank Redemption",
        "categories": ["Crime", "Drama"],
        "attributes": {"year": 1994},
    }
    assert nameless == {"item_id": "0000001", "title": "Nameless", "categories": []}


def test_movielens_ratings_are_feedback_sorted_by_time(data: Path) -> None:
    first, second = open_source("ml-latest-small", data).events()
    assert (first.topic, first.key, first.timestamp_ms) == ("feedback", "2", 964981247000)
    assert second.value["type"] == "rating"
    assert second.value["value"] == 4.0


def test_movielens_catalogue_has_the_most_used_tags_first(data: Path) -> None:
    net, odd = open_source("ml-latest-small", data).items()
    assert net["title"] == "Net, The"
    assert net["tags"] == ["hackers", "90s"]
    assert odd["categories"] == []


def test_ranklens_clicks_know_their_slate_and_place(data: Path) -> None:
    source = open_source("ranklens", data)
    slate, click = source.events()
    assert slate.topic == "impressions"
    assert slate.value["items"] == [{"item_id": "b", "position": 0}, {"item_id": "a", "position": 1}]
    assert (click.topic, click.value["request_id"], click.value["position"]) == ("clicks", "r1", 1)
    assert [item["title"] for item in source.items()] == ["A"]


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_missing_data_set_says_where_to_get_it(name: str, tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(InvalidInput, match="FRESHET_DATA") as caught:
            open_source(name, folder)
        assert DATA_SETS[name].home in str(caught.value)


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="movietweetings, ml-latest-small, ranklens, synthetic"):
        open_source("movie-tweetings", None)


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv_with_the_usual_column_names(tmp_path: Path, ending: str) -> None:
    text = "\ufeffUser_ID,itemId,ts,session_id\nu,i,2013-02-28T14:38:27Z,s\nv,i,1362062308,\n"
    first, second = open_source(_file(tmp_path, f"log.{ending}", text), None).events()
    assert first.topic == "clicks"
    assert first.value == {
        "session_id": "s",
        "event_id": first.value["event_id"],
        "user_id": "u",
        "item_id": "i",
        "timestamp": 1362062307000,
    }
    assert second.timestamp_ms == 1362062308000
    assert "session_id" not in second.value


def test_csv_with_types_values_and_semicolons(tmp_path: Path) -> None:
    text = 'user;item;time;type;value;event_id\n"u;1";i;1362062308000;purchase;9.5;e1\nu;i;1362062309000;view;;\n'
    purchase, view = open_source(_file(tmp_path, "log.csv", text), None).events()
    assert purchase.key == "u;1"
    assert (purchase.topic, purchase.value["value"], purchase.value["event_id"]) == ("feedback", 9.5, "e1")
    assert view.topic == "views"


def test_csv_ids_stay_the_same_after_rows_are_appended_and_differ_between_files(tmp_path: Path) -> None:
    def ids(name: str, rows: str) -> list[str]:
        return [event.value["event_id"] for event in open_source(_file(tmp_path, name, "user,item,ts\n" + rows), None).events()]

    one, longer, other = (
        ids("a.csv", "u,i,1362062308\n"),
        ids("a.csv", "u,i,1362062308\nu,j,1362062309\n"),
        ids("b.csv", "v,i,1362062308\n"),
    )
    assert longer[0] == one[0]
    assert len({*longer, *other}) == 3


def test_csv_without_a_needed_column_names_the_columns_found(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no column for item, time .*columns found: user, product, when"):
        open_source(_file(tmp_path, "log.csv", "user,product,when\nu,i,1362062308\n"), None)
    with pytest.raises(InvalidInput, match="the file is empty"):
        open_source(_file(tmp_path, "none.csv", ""), None)


def test_bad_rows_are_counted_and_named_by_line(tmp_path: Path) -> None:
    rows = ["u,i,1362062308", "u,i,yesterday", ",i,1362062308", "u,i", "u,i,1362062309", "u,\x01,5", *["w,i,1362062310"] * 4]
    source = open_source(_file(tmp_path, "log.csv", "\n".join(["user,item,ts", *rows])), None)
    assert source.count == len(list(source.events())) == 6
    assert (source.faults.rows, source.faults.bad) == (10, 4)
    assert [fault.split(":")[0] for fault in source.faults.first] == ["line 3", "line 4", "line 5", "line 7"]
    assert "yesterday" in source.faults.first[0]


def test_mostly_bad_rows_are_fatal_before_anything_is_sent(tmp_path: Path) -> None:
    source = open_source(_file(tmp_path, "log.csv", "user,item,ts\nu,i,2013-02-28 10:00\nu,i,1\nu,i,1362062308\n"), None)
    with pytest.raises(InvalidInput, match=r"2 of 3 rows are bad: line 2: .*RFC 3339"):
        source.events()


def test_a_name_that_is_not_utf_8_is_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"user,item,ts\nu,caf\xe9,1362062308\nu,caf\xc3\xa9,1362062308\n")
    source = open_source(str(path), None)
    assert [event.value["item_id"] for event in source.events()] == ["café"]
    assert source.faults.bad == 1


def test_jsonl_events_items_and_users(tmp_path: Path) -> None:
    lines = [
        {"item_id": "i", "title": "T"},
        {"user_id": "u", "groups": ["g"]},
        {"topic": "clicks", "user_id": "u", "item_id": 5, "timestamp": "2013-02-28T14:38:27Z", "context": {"a": 1}},
        {"type": "rating", "value": 3, "event_id": "e", "user_id": "u", "item_id": "i", "timestamp": 1362062308000},
        {"topic": "impressions", "request_id": "r", "user_id": "u", "items": [], "timestamp": 1362062309000},
    ]
    source = open_source(_file(tmp_path, "log.jsonl.gz", "\n".join(orjson.dumps(line).decode() for line in lines)), None)
    click, rating, slate = source.events()
    assert list(source.items()) == [{"item_id": "i", "title": "T"}]
    assert list(source.users()) == [{"user_id": "u", "groups": ["g"]}]
    assert click.value["item_id"] == "5"
    assert click.value["context"] == {"a": 1}
    assert (rating.topic, rating.value["type"], rating.value["value"]) == ("feedback", "rating", 3.0)
    assert (slate.topic, slate.key) == ("impressions", "u")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[1]", "expected an object"),
        ("{", "unexpected end"),
        ('{"user_id":"u","item_id":"i","timestamp":1362062308}', "neither topic nor type"),
        ('{"type":"clack","user_id":"u","item_id":"i","timestamp":1362062308}', "clack"),
        ('{"type":"click","user_id":"u","timestamp":1362062308}', "item_id is missing"),
        ('{"type":"click","user_id":true,"item_id":"i","timestamp":1362062308}', "neither a string nor an integer"),
        ('{"type":"rating","value":"x","user_id":"u","item_id":"i","timestamp":1362062308}', "not a number"),
    ],
)
def test_jsonl_faults_say_what_is_wrong(tmp_path: Path, line: str, why: str) -> None:
    good = '{"type":"click","user_id":"u","item_id":"i","timestamp":1362062308}'
    source = open_source(_file(tmp_path, "log.jsonl", f"{good}\n{line}\n"), None)
    assert source.count == 1
    assert source.faults.first[0].startswith("line 2: ")
    assert why in source.faults.first[0]


def test_dat_rows_are_ratings(tmp_path: Path) -> None:
    (event,) = open_source(_file(tmp_path, "r.dat", "1::2::5::1362062308\n"), None).events()
    assert (event.topic, event.value["value"]) == ("feedback", 5.0)


def test_a_damaged_gzip_and_an_unknown_ending_are_clear(tmp_path: Path) -> None:
    broken = tmp_path / "log.csv.gz"
    broken.write_bytes(gzip.compress(b"user,item,ts\n" + b"u,i,1362062308\n" * 100)[:-20])
    with pytest.raises(InvalidInput, match="cannot be read"):
        list(open_source(str(broken), None).events())
    with pytest.raises(InvalidInput, match=r"ends in \.csv"):
        open_source(_file(tmp_path, "log.parquet", ""), None)


def test_sorting_on_disk_equals_sorting_in_memory() -> None:
    events = [SourceEvent("clicks", "u", {"n": n}, 1362062308000 + n * 37 % 50) for n in range(200)]
    expected = sorted(events, key=lambda event: event.timestamp_ms)
    assert list(in_time_order(events, in_memory=30)) == expected == list(in_time_order(events))


@pytest.mark.parametrize("value", [1362062307, 1362062307.0, "1362062307", "1362062307.0", 1362062307000, "1362062307000000"])
def test_times_are_told_apart_by_size(value: object) -> None:
    assert read_time(value) == 1362062307000


@pytest.mark.parametrize("value", ["", "nan", "inf", -5, 0, True, None, "2013-02-28", "1e300", [1]])
def test_times_that_are_none(value: object) -> None:
    with pytest.raises(ValueError, match="timestamp"):
        read_time(value)


@needs_real_data
@pytest.mark.parametrize(
    ("name", "events", "items"),
    [("movietweetings", 100_000, 12_611), ("ml-latest-small", 100_836, 9_742), ("ranklens", 43_883, 2_512)],
)
def test_the_real_sets_are_read_whole_in_order_and_as_the_contract_says(name: str, events: int, items: int) -> None:
    source = open_source(name, REAL)
    newest, ids = 0, set()
    for number, event in enumerate(source.events()):
        assert event.timestamp_ms >= newest
        newest = event.timestamp_ms
        ids.add(event.value.get("event_id") or event.value["request_id"])
        if event.topic != "impressions" and number % 100 == 0:
            parse_event(event.topic, orjson.dumps(event.value), event.timestamp_ms)
    assert source.count == len(ids) == events
    assert source.faults.bad == 0
    assert sum(1 for item in source.items() if Item.model_validate(item)) == items
