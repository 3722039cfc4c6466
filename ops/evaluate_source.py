"""From a data set or a file to the events that models are judged on: columns in time order, and the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from feature_store.catalogue import dated_title, year_of
from ops.column_names import Columns
from ops.datasets import DATA_SETS, open_source
from ops.event_files import CsvEvents, file_kind
from ops.json_events import JsonTable
from ops.sources import JsonObject, Source, SourceEvent
from schemas.errors import InvalidInput
from schemas.events import TYPE_CODES
from schemas.topics import IMPRESSIONS
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions

_LEAST_POSITIVE: Final = {"ml-latest-small": 4.0}
_FIXED_TYPE: Final = {"views": TYPE_CODES["view"], "clicks": TYPE_CODES["click"]}


class Asked(NamedTuple):
    """Which events a person wants models to be judged on.

    Attributes:
        source: a data set, `synthetic[:...]`, or a file.
        least_rating: ratings below it are left out; None: the data set's own bound, if it has one.
        limit: at most this many events, the first; None: all.
        columns: names of columns that go by none of the usual names.
    """

    source: str
    least_rating: float | None = None
    limit: int | None = None
    columns: Columns = {}  # noqa: RUF012 - never changed


class Stream(NamedTuple):
    """A source and which of its events count.

    Attributes:
        name: as a person asked for it.
        size: events that count. low_ratings: ratings that were left out.
    """

    name: str
    source: Source
    least_rating: float | None
    size: int
    low_ratings: int

    def events(self) -> Iterator[SourceEvent]:
        """The events that count, oldest first."""
        return islice(_positive(self.source.events(), self.least_rating), self.size)

    def interactions(self, count: int | None = None) -> Interactions:
        """The first `count` events, or all, as columns; what comes later is not read."""
        return as_interactions(islice(self.events(), count))


def open_stream(asked: Asked, data: Path | None) -> Stream:
    """Find the source and count its events.

    Raises:
        InvalidInput: no such source, unreadable, without events, or a bound on ratings where there are none.
    """
    source = _open(asked, data)
    least = _LEAST_POSITIVE.get(asked.source) if asked.least_rating is None else asked.least_rating
    found, low, ratings = 0, 0, False
    for event in source.events():
        ratings |= _rating(event) is not None
        found += _counts(event, least)
        low += not _counts(event, least) and event.topic != IMPRESSIONS
        if found == asked.limit:
            break
    if asked.least_rating is not None and not ratings:
        raise InvalidInput(f"--min-rating {asked.least_rating:g}: no event of {asked.source} is a rating; leave it out")
    if found == 0:
        raise InvalidInput(f"{asked.source} has no events that count ({low:,} ratings are below {least})")
    return Stream(asked.source, source, least, found, low)


def _open(asked: Asked, data: Path | None) -> Source:
    path = Path(asked.source).expanduser()
    named = asked.source in DATA_SETS or asked.source.partition(":")[0] == "synthetic"
    kind = file_kind(path)
    if not named and path.is_file() and kind in {".csv", ".tsv"}:
        return CsvEvents(path, asked.columns)
    if not named and path.is_file() and kind in {".jsonl", ".ndjson"}:
        return JsonTable(path, asked.columns)
    if asked.columns:
        flags = ", ".join(f"--{column}-column" for column in asked.columns)
        raise InvalidInput(f"{flags}: only for .csv, .tsv, .jsonl and .ndjson files that exist; {asked.source} is none")
    return open_source(asked.source, data)


def _positive(events: Iterable[SourceEvent], least_rating: float | None) -> Iterator[SourceEvent]:
    return (event for event in events if _counts(event, least_rating))


def _counts(event: SourceEvent, least_rating: float | None) -> bool:
    if event.topic == IMPRESSIONS:
        return False
    rating = _rating(event)
    return least_rating is None or rating is None or rating >= least_rating


def _rating(event: SourceEvent) -> float | None:
    return event.value.get("value") if event.value.get("type") == "rating" else None


def as_interactions(events: Iterable[SourceEvent]) -> Interactions:
    """Events of the topics `views`, `clicks` and `feedback` as columns."""
    users, items, types, values, undo, times, contexts = [], [], [], [], [], [], []
    for event in events:
        value = event.value
        users.append(event.key)
        items.append(value["item_id"])
        types.append(_FIXED_TYPE[event.topic] if event.topic in _FIXED_TYPE else TYPE_CODES[value["type"]])
        values.append(value.get("value", np.nan) if value.get("type") == "rating" else np.nan)
        undo.append(value.get("undo") is True)
        times.append(event.timestamp_ms)
        contexts.append(tuple(sorted(f"{name}={part}" for name, part in (value.get("context") or {}).items())))
    return Interactions(
        users=users,
        items=items,
        types=np.array(types, np.uint8),
        values=np.array(values, np.float32),
        undo=np.array(undo, np.bool_),
        timestamps=np.array(times, np.int64),
        contexts=contexts,
    )


class CatalogueItem(NamedTuple):
    """What models are told of an item before the stream begins; a year stands in brackets at the end of the title."""

    item_id: str
    categories: Sequence[str]
    title: str | None


def catalogue(source: Source) -> list[CatalogueItem]:
    """The source's items.

    Titles and categories only: tags were given by people while the stream ran, so they would tell of the future.
    """
    return [_catalogue_item(item) for item in source.items()]


def _catalogue_item(item: JsonObject) -> CatalogueItem:
    title = dated_title(item.get("title"), year_of(item.get("attributes") or {}))
    return CatalogueItem(item["item_id"], item.get("categories") or (), title)


def describe_items(bank: ModelBank, items: Iterable[CatalogueItem]) -> None:
    """Give the bank the catalogue."""
    for item in items:
        bank.describe(item.item_id, item.categories, item.title)
