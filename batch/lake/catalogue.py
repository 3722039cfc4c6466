"""The catalogue as the topic `items` tells it: the newest record of an item counts, a null takes it away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic_core import from_json

from batch.datasets.interactions import Catalogue
from batch.lake.lake import Lake
from batch.lake.rows import EVERYTHING, Cut, read_rows
from feature_store.catalogue import year_of
from schemas.topics import ITEMS

_COLUMNS: Final = ("item_id", "deleted", "title", "categories", "tags", "attributes", "created_at", "log_time")
_NEVER: Final = 2**63 - 1


class Entry(NamedTuple):
    """What the catalogue says of one item.

    Attributes:
        year: NaN: unknown.
        since: ms: when it was created, by its own account, or else when the log first had it.
    """

    title: str = ""
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    year: float = np.nan
    since: int = _NEVER


_UNKNOWN: Final = Entry()


def read_catalogue(lake: Lake, cut: Cut = EVERYTHING) -> dict[str, Entry]:
    """The items by id, in the order in which the log first had them.

    Args:
        cut: only its offsets count: the catalogue has no event times.
    """
    entries: dict[str, Entry] = {}
    first_logged: dict[str, int] = {}
    for rows in read_rows(lake, [ITEMS], _COLUMNS, Cut(offsets=cut.offsets)):
        for row in rows.to_pylist():
            logged = first_logged.setdefault(row["item_id"], row["log_time"])
            if row["deleted"]:
                entries.pop(row["item_id"], None)
            else:
                entries[row["item_id"]] = _entry(row, logged)
    return entries


def as_columns(ids: Iterable[str], entries: dict[str, Entry], first_taken: dict[str, int]) -> Catalogue:
    """The catalogue of these items, known or not.

    Args:
        ids: in the order of the rows.
        first_taken: ms of the first interaction with each item that has one.
    """
    named = tuple(ids)
    rows = [entries.get(name, _UNKNOWN) for name in named]
    since = [min(row.since, first_taken.get(name, _NEVER)) for name, row in zip(named, rows, strict=True)]
    return Catalogue(
        named, tuple(row.title for row in rows), tuple(row.categories for row in rows), tuple(row.tags for row in rows),
        np.array([row.year for row in rows], np.float32), np.array(since, np.int64),
    )  # fmt: skip


def _entry(row: dict[str, Any], logged: int) -> Entry:
    year = year_of(from_json(row["attributes"])) if row["attributes"] else None
    return Entry(
        row["title"] or "", tuple(dict.fromkeys(row["categories"])), tuple(dict.fromkeys(row["tags"])),
        np.nan if year is None else year, logged if row["created_at"] is None else row["created_at"],
    )  # fmt: skip
