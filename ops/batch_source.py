"""From a data set, a file of your own or the lake to the log that batch models learn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from batch.datasets.interactions import Catalogue, InteractionLog
from feature_store.catalogue import year_of
from ops.evaluate_source import Asked, Stream, open_stream
from ops.sources import JsonObject
from schemas.errors import InvalidInput
from schemas.events import NEGATIVE_TYPES, TYPE_WEIGHTS

LAKE: Final = "lake:"
_SPEAKS_FOR: Final = np.array([weight > 0 and kind not in NEGATIVE_TYPES for kind, weight in enumerate(TYPE_WEIGHTS)])


def read_log(asked: Asked, data: Path | None) -> InteractionLog:
    """The interactions that speak for their item, oldest first, with the catalogue.

    Titles and categories are told; tags are not, because people gave them while the stream ran. A catalogue entry counts as known
    from the first event on, because it stands before the events in every source.

    Raises:
        InvalidInput: no such source, nothing in it that counts, or a lake that cannot be read.
    """
    if asked.source.startswith(LAKE):
        return _from_lake(asked.source.removeprefix(LAKE))
    return _from_stream(open_stream(asked, data))


def _from_lake(place: str) -> InteractionLog:
    from batch.lake.reading import interactions, open_lake  # noqa: PLC0415 - needs pyarrow, which data sets do without

    return interactions(open_lake(place)).log


def _from_stream(stream: Stream) -> InteractionLog:
    columns = stream.interactions()
    kept = np.flatnonzero(_SPEAKS_FOR[columns.types] & ~columns.undo)
    if not len(kept):
        raise InvalidInput(f"{stream.name}: none of its {stream.size:,} events speaks for an item; there is nothing to learn")
    users, items = [columns.users[at] for at in kept], [columns.items[at] for at in kept]
    times = columns.timestamps[kept]
    user_rows = _rows(users)
    described = {item["item_id"]: item for item in stream.source.items()}
    item_rows = _rows((*described, *items))
    return InteractionLog(
        np.array([user_rows[user] for user in users], np.int64),
        np.array([item_rows[item] for item in items], np.int64),
        times,
        columns.values[kept],
        tuple(user_rows),
        _catalogue(list(item_rows), described, int(times[0])),
    )


def _rows(ids: Iterable[str]) -> dict[str, int]:
    """A row number for each id, in the order of their first appearance."""
    return {identity: row for row, identity in enumerate(dict.fromkeys(ids))}


def _catalogue(ids: Sequence[str], described: Mapping[str, JsonObject], since: int) -> Catalogue:
    entries: list[Mapping[str, Any]] = [described.get(identity, {}) for identity in ids]
    years = [year_of(entry.get("attributes") or {}) for entry in entries]
    return Catalogue(
        ids=tuple(ids),
        titles=tuple(entry.get("title") or "" for entry in entries),
        categories=tuple(tuple(entry.get("categories") or ()) for entry in entries),
        tags=((),) * len(ids),
        years=np.array([np.nan if year is None else year for year in years], np.float32),
        first_seen=np.full(len(ids), since, np.int64),
    )
