"""The columns of the lake's Parquet files, topic by topic. `topic` and `day` are in the names of the folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from schemas.topics import EVENT_TOPICS, IMPRESSIONS, ITEMS, USERS

SCHEMA_VERSION: Final = 1
LAKE_TOPICS: Final = (*EVENT_TOPICS, IMPRESSIONS, ITEMS, USERS)
"""What the lake holds: everything that the contract lets producers write."""

_TEXT: Final = pa.string()
_TEXTS: Final = pa.list_(pa.field("element", pa.string(), nullable=False))


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_PLACE: Final = [_required("partition", pa.int32()), _required("offset", pa.int64()), pa.field("key", _TEXT)]
# Event time and log time are ms since 1970, as everywhere in Freshet; `origin` names the place a worker forwarded it from.
_TIMES: Final = [_required("timestamp", pa.int64()), _required("log_time", pa.int64()), pa.field("origin", _TEXT)]
_BASE: Final = [*_PLACE, *_TIMES]
_EXTRA: Final = pa.field("extra", _TEXT)

_SHOWN: Final = pa.struct(
    [
        _required("item_id", _TEXT),
        _required("position", pa.int64()),
        pa.field("score", pa.float64()),
        pa.field("propensity", pa.float64()),
        pa.field("source", _TEXT),
    ]
)

_INTERACTION: Final = [
    *_BASE,
    pa.field("event_id", _TEXT),
    _required("type", _TEXT),
    _required("user_id", _TEXT),
    _required("item_id", _TEXT),
    pa.field("value", pa.float64()),
    _required("undo", pa.bool_()),
    pa.field("session_id", _TEXT),
    pa.field("request_id", _TEXT),
    pa.field("position", pa.int64()),
    pa.field("context", _TEXT),
    _EXTRA,
]
_FIELDS: Final[dict[str, list[pa.Field]]] = {
    **dict.fromkeys(EVENT_TOPICS, _INTERACTION),
    IMPRESSIONS: [
        *_BASE,
        _required("request_id", _TEXT),
        _required("user_id", _TEXT),
        _required("items", pa.list_(pa.field("element", _SHOWN, nullable=False))),
        pa.field("experiment", _TEXT),
        pa.field("context", _TEXT),
        _EXTRA,
        # Beside `items` and not in it: files from before have no such column, and are read as if it were null.
        pa.field("feature_names", _TEXT),
        pa.field("features", pa.list_(pa.field("element", pa.binary()))),
    ],
    ITEMS: [
        *_BASE,
        _required("item_id", _TEXT),
        _required("deleted", pa.bool_()),
        pa.field("title", _TEXT),
        pa.field("description", _TEXT),
        _required("categories", _TEXTS),
        _required("tags", _TEXTS),
        pa.field("price", pa.float64()),
        pa.field("attributes", _TEXT),
        _required("available", pa.bool_()),
        pa.field("created_at", pa.int64()),
        _EXTRA,
    ],
    USERS: [
        *_BASE,
        _required("user_id", _TEXT),
        _required("deleted", pa.bool_()),
        pa.field("attributes", _TEXT),
        _required("groups", _TEXTS),
        _EXTRA,
    ],
}
_INVALID: Final = [
    *_BASE,
    _required("reason", _TEXT),
    _required("error", _TEXT),
    pa.field("user_id", _TEXT),
    pa.field("value", pa.binary()),
]


def completed(batch: pa.RecordBatch, topic: str, invalid: bool, wanted: Sequence[str] | None) -> pa.RecordBatch:
    """The rows with all columns that are wanted (None: that there are): one that came later than the file is null.

    Raises:
        KeyError: no such column.
    """
    schema = columns_of(topic, invalid)
    names = schema.names if wanted is None else wanted
    if not set(names) - set(batch.schema.names):
        return batch
    fields = [schema.field(name) for name in names]
    columns = [
        batch.column(field.name) if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type) for field in fields
    ]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, batch.schema.metadata))


def columns_of(topic: str, invalid: bool = False) -> pa.Schema:
    """The columns of a topic's events, or of its records that are none. The schema's metadata names topic and version.

    >>> columns_of("clicks").names[:5]
    ['partition', 'offset', 'key', 'timestamp', 'log_time']
    """
    about = {"freshet.schema": str(SCHEMA_VERSION), "freshet.topic": topic}
    return pa.schema(_INVALID if invalid else _FIELDS[topic], about)
