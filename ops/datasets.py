"""The public data sets by name, and `open_source`, which finds the source for a name, a file, or `synthetic`.

Their timestamps are historical; a replay may shift them. None of the files is part of Freshet: `FRESHET_DATA` says where they are.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from ops.event_files import open_file
from ops.event_rows import cells, dat_rows, interaction, raw_lines, text_lines
from ops.sources import JsonObject, RecordedSource, RowFaults, Source, SourceEvent, good_rows, read_time
from ops.synthetic import open_synthetic
from schemas.errors import InvalidInput
from schemas.topics import IMPRESSIONS

_YEAR: Final = re.compile(r"\s*\((\d{4})\)\s*$")
_NO_GENRE: Final = "(no genres listed)"
_MOST_TAGS: Final = 256  # the contract's bound on an item's tags


class DataSet(NamedTuple):
    """A public data set: the files it needs, where to get them, and how to open the folder."""

    files: tuple[str, ...]
    home: str
    open: Callable[[Path], Source]


def open_source(name_or_path: str, data_dir: Path | None) -> Source:
    """The source for a public set's name, `synthetic[:events[,users[,items[,seed]]]]`, or a file's path.

    Args:
        data_dir: the folder that has the public sets (`settings.data`).

    Raises:
        InvalidInput: no such source; the message says what there is and where to get it.
    """
    name, _, parameters = name_or_path.partition(":")
    if name == "synthetic":
        return open_synthetic(parameters)
    if name_or_path in DATA_SETS:
        return _open_set(name_or_path, data_dir)
    path = Path(name_or_path).expanduser()
    if path.exists():
        return open_file(path)
    known = ", ".join((*DATA_SETS, "synthetic[:events[,users[,items[,seed]]]]"))
    raise InvalidInput(f"there is no file {name_or_path!r}, and no source of that name; known sources: {known}, or a file")


def _open_set(name: str, data_dir: Path | None) -> Source:
    wanted = DATA_SETS[name]
    folder = None if data_dir is None else data_dir.expanduser() / name
    missing = [file for file in wanted.files if folder is None or not (folder / file).is_file()]
    if folder is None or missing:
        place = "FRESHET_DATA is not set" if folder is None else f"{folder} has no {' and no '.join(missing)}"
        raise InvalidInput(
            f"{name}: {place}. Get {', '.join(wanted.files)} from {wanted.home}, "
            f"put them into FOLDER/{name}/, and set FRESHET_DATA=FOLDER"
        )
    return wanted.open(folder)


class MovieTweetings(RecordedSource[list[str]]):
    """Ratings as people tweeted them, 2013: a rating of any value is one click ("this person watched it")."""

    title = "MovieTweetings"
    licence = "MovieTweetings, (c) 2013 Simon Dooms, MIT licence, https://github.com/sidooms/MovieTweetings"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(self, faults: RowFaults) -> Iterator[tuple[int, list[str]]]:
        """(line number, cells) of ratings.dat."""
        return dat_rows(self._folder / "ratings.dat")

    def to_event(self, line: int, row: list[str]) -> SourceEvent:
        """The rating as a click."""
        user, item, _, time = cells(row, 4)
        return interaction("click", f"mt-{line}", user, item, read_time(time), None, {})

    def items(self) -> Iterator[JsonObject]:
        """The films of movies.dat."""
        films = good_rows(dat_rows(self._folder / "movies.dat"), lambda _, row: cells(row, 3), RowFaults())
        return (film(identity, title, genres) for identity, title, genres in films)


class MovieLens(RecordedSource[list[str]]):
    """MovieLens (small): explicit ratings; their times are rating sittings, not viewing times."""

    title = "MovieLens ml-latest-small"
    licence = (
        "MovieLens ml-latest-small, GroupLens, for non-commercial use (README.txt), "
        "https://grouplens.org/datasets/movielens/latest/"
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(self, faults: RowFaults) -> Iterator[tuple[int, list[str]]]:
        """(line number, cells) of ratings.csv."""
        return self._table("ratings.csv")

    def to_event(self, line: int, row: list[str]) -> SourceEvent:
        """The rating as feedback."""
        user, item, rating, time = cells(row, 4)
        return interaction("rating", f"ml-{user}-{item}", user, item, read_time(time), rating, {})

    def items(self) -> Iterator[JsonObject]:
        """The films of movies.csv with what people tagged them."""
        tags = self._tags()
        for identity, title, genres in good_rows(self._table("movies.csv"), lambda _, row: cells(row, 3), RowFaults()):
            counted = tags.get(identity, Counter())
            yield {**film(identity, title, genres), "tags": [tag for tag, _ in counted.most_common(_MOST_TAGS)]}

    def _tags(self) -> dict[str, Counter[str]]:
        tags: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for _, item, tag, _ in good_rows(self._table("tags.csv"), lambda _, row: cells(row, 4), RowFaults()):
            if cleaned := tag.strip().lower()[:200]:
                tags[item][cleaned] += 1
        return tags

    def _table(self, name: str) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(text_lines(self._folder / name))
        next(reader, None)
        return ((reader.line_num, row) for row in reader if row)


def film(identity: str, title: str, genres: str) -> JsonObject:
    """A catalogue entry from `title (year)` and `genre|genre`.

    >>> film("1", "Toy Story (1995)", "Comedy|Fantasy")
    {'item_id': '1', 'title': 'Toy Story', 'categories': ['Comedy', 'Fantasy'], 'attributes': {'year': 1995}}
    """
    year = _YEAR.search(title)
    categories = [genre for genre in genres.split("|") if genre and genre != _NO_GENRE]
    entry: JsonObject = {"item_id": identity, "title": _YEAR.sub("", title).strip(), "categories": categories}
    return {**entry, "attributes": {"year": int(year[1])}} if year else entry


class RankLens(RecordedSource[bytes]):
    """Slates of 24 films shown to people, and what they clicked; a click's time is always its slate's plus five seconds."""

    title = "RankLens"
    licence = "RankLens, (c) Metarank, CC BY-SA 4.0, https://github.com/metarank/ranklens"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.jsonl.gz"
        self._places: dict[str, dict[str, int]] = {}

    def rows(self, faults: RowFaults) -> Iterator[tuple[int, bytes]]:
        """(line number, line)."""
        return enumerate(raw_lines(self._path), start=1)

    def to_event(self, line: int, row: bytes) -> SourceEvent | None:
        """A ranking as an impression, an interaction as a click; None for films."""
        fields = orjson.loads(row)
        try:
            if fields["event"] == "ranking":
                return self._impression(fields)
            return self._click(fields) if fields["event"] == "interaction" else None
        except KeyError as error:
            raise ValueError(f"{error} is missing") from error

    def _impression(self, fields: JsonObject) -> SourceEvent:
        time_ms = read_time(fields["timestamp"])
        shown = [{"item_id": item["id"], "position": position} for position, item in enumerate(fields["items"])]
        self._places[fields["id"]] = {place["item_id"]: place["position"] for place in shown}
        value = {"request_id": fields["id"], "user_id": fields["user"], "timestamp": time_ms, "items": shown}
        return SourceEvent(IMPRESSIONS, fields["user"], value, time_ms)

    def _click(self, fields: JsonObject) -> SourceEvent:
        user, item, ranking = fields["user"], fields["item"], fields["ranking"]
        extra: JsonObject = {"session_id": fields["session"], "request_id": ranking}
        position = self._places.get(ranking, {}).get(item)
        if position is not None:
            extra["position"] = position
        return interaction("click", fields["id"], user, item, read_time(fields["timestamp"]), None, extra)

    def items(self) -> Iterator[JsonObject]:
        """The films with title, description, genres, tags and people."""
        lines = good_rows(self.rows(RowFaults()), lambda _, row: orjson.loads(row), RowFaults())
        return (_ranklens_film(fields) for fields in lines if fields.get("event") == "item")


def _ranklens_film(row: JsonObject) -> JsonObject:
    given: dict[str, Any] = {entry["name"]: entry["value"] for entry in row["fields"]}
    attributes = {name: given[name] for name in ("director", "writer", "actors", "runtime", "budget") if given.get(name)}
    if "release_date" in given:
        attributes["year"] = datetime.fromtimestamp(given["release_date"], UTC).year
    return {
        "item_id": row["item"],
        "title": given.get("title"),
        "description": given.get("description"),
        "categories": given.get("genres", []),
        "tags": given.get("tags", [])[:_MOST_TAGS],
        "attributes": attributes,
    }


DATA_SETS: Final = {
    "movietweetings": DataSet(("ratings.dat", "movies.dat"), "https://github.com/sidooms/MovieTweetings", MovieTweetings),
    "ml-latest-small": DataSet(
        ("ratings.csv", "movies.csv", "tags.csv"), "https://grouplens.org/datasets/movielens/latest/", MovieLens
    ),
    "ranklens": DataSet(("events.jsonl.gz",), "https://github.com/metarank/ranklens", RankLens),
}
