"""Who was forgotten, as the lake itself knows: nulls in the `users` topic.

A compaction leaves of them the place in the log, the time, and in the place of the id a keyed hash; its key is drawn once for each
lake. A row's key in Kafka, which was the id, is then null: by that such rows are known.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import pyarrow as pa
from pyarrow import compute

from batch.lake.lake import STAGING, Lake
from batch.lake.rows import read_rows
from feature_store.forgotten_blob import SALT_BYTES, hash_of
from schemas.topics import USERS

NEVER: Final = -1
_SALT: Final = "_forgotten/salt"
_PREFIX: Final = "forgotten:"
_CACHED: Final = 200_000


def hidden_id(user_id: str, salt: bytes) -> str:
    """What stands in the place of the id of somebody forgotten.

    >>> len(hidden_id("42", b"salt")), hidden_id("42", b"salt") == hidden_id("42", b"other")
    (42, False)
    """
    return _PREFIX + hash_of(user_id, salt).hex()


class Forgotten:
    """Who was forgotten, and when.

    Args:
        times: ids, or `hidden_id` of them, to ms of log time.
        salt: key of the hashes; None: there is none yet, and no hash.
    """

    def __init__(self, times: Mapping[str, int], salt: bytes | None) -> None:
        self._times = times
        self._salt = salt
        self.time_of = lru_cache(_CACHED)(self._time_of)

    def __bool__(self) -> bool:
        return bool(self._times)

    def _time_of(self, user_id: str) -> int:
        """Log time in ms at which a user was last forgotten; -1: never."""
        time = self._times.get(user_id, NEVER)
        return time if self._salt is None else max(time, self._times.get(hidden_id(user_id, self._salt), NEVER))

    def times_of(self, user_ids: pa.Array) -> pa.Array:
        """`time_of` each of n ids, or null: int64[n]."""
        encoded = user_ids.dictionary_encode()
        return pa.array(map(self.time_of, encoded.dictionary.to_pylist()), pa.int64()).take(encoded.indices)


def forgotten_users(lake: Lake) -> Forgotten:
    """Of all the lake has: a wish to be forgotten holds for older cuts too."""
    found: dict[str, int] = {}
    for rows in read_rows(lake, [USERS], ("user_id", "deleted", "log_time")):
        for row in rows.filter(rows.column("deleted")).to_pylist():
            found[row["user_id"]] = max(row["log_time"], found.get(row["user_id"], NEVER))
    return Forgotten(found, lake.storage.read(_SALT) if found and lake.storage.exists(_SALT) else None)


def salt_of(lake: Lake) -> bytes:
    """The key of the lake's hashes, drawn now if there is none."""
    if not lake.storage.exists(_SALT):
        staged = f"{STAGING}/{0:015}-{secrets.token_hex(4)}/salt"  # named as a stage: one that was left behind is cleared away
        lake.storage.create(_SALT, secrets.token_bytes(SALT_BYTES), staged)
        lake.storage.delete(staged)
    return lake.storage.read(_SALT)


def telling(users: pa.RecordBatch) -> pa.Array:
    """Which rows of `users` say by its id that somebody was forgotten: bool[n]."""
    return compute.and_(users.column("deleted"), compute.is_valid(users.column("key")))


def hidden(users: pa.RecordBatch, salt: bytes) -> pa.RecordBatch:
    """Rows of `users` that name nobody who was forgotten any more."""
    names = users.schema.names
    gone = telling(users)
    named = zip(users["user_id"].to_pylist(), gone.to_pylist(), strict=True)
    ids = pa.array([hidden_id(one, salt) if is_gone else one for one, is_gone in named], pa.string())
    keys = compute.if_else(gone, pa.scalar(None, pa.string()), users["key"])
    columns = {"user_id": ids, "key": keys}
    return pa.RecordBatch.from_arrays([columns.get(name, users[name]) for name in names], schema=users.schema)
