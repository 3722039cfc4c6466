"""The interactions of a lake as models learn from them: every event once, as the workers count, in the order of time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.datasets.interactions import InteractionLog, checked
from batch.lake.catalogue import Entry, as_columns, read_catalogue
from batch.lake.forgotten import Forgotten, forgotten_users
from batch.lake.lake import Lake
from batch.lake.rows import Cut, ends_of, read_rows
from schemas.errors import InvalidInput
from schemas.events import NEGATIVE_TYPES, TYPE_CODES, TYPE_WEIGHTS, EventType
from schemas.horizons import HOUR_MS
from schemas.timestamps import format_timestamp
from schemas.topics import EVENT_TOPICS

I64 = NDArray[np.int64]
_COLUMNS: Final = (
    "topic", "partition", "offset", "user_id", "item_id", "type", "timestamp", "log_time", "value", "undo", "event_id", "origin"
)  # fmt: skip
_SPEAKS_FOR: Final = np.array([weight > 0 and kind not in NEGATIVE_TYPES for kind, weight in enumerate(TYPE_WEIGHTS)])
_ID_BYTES: Final = 8
_NOTHING: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("users", "items", "types", "topics", "timestamps", "partitions", "offsets"), np.zeros(0, np.int64)),
    "values": np.zeros(0, np.float32),
    "undo": np.zeros(0, np.bool_),
}
Columns = dict[str, Any]


class Interactions(NamedTuple):
    """What `interactions` gives.

    Attributes:
        log: the interactions.
        offsets: by `topic-partition` the offset before which was read: a model's cut-off, and what gives the same log again
            (without those who were forgotten since).
    """

    log: InteractionLog
    offsets: dict[str, int]


def interactions(
    lake: Lake,
    until: int | None = None,
    since: int | None = None,
    offsets: Mapping[str, int] | None = None,
    dedupe_hours: int = 25,
) -> Interactions:
    """Views, clicks and feedback that speak for their item (`schemas.events.TYPE_WEIGHTS`), oldest first.

    Counted as the workers count: an `event_id` of a user is known for `dedupe_hours` of log time; of a record and its forwarded
    copy one counts; an undo takes back the person's newest event of that type and item that is not newer than itself; what a
    person did before they were forgotten is left out.

    Args:
        until, since: event times in ms: only events before the first, and from the second on. The catalogue is whole.
        offsets: read before these only, as an earlier call gave them; None: all there is.
        dedupe_hours: as the workers' setting.

    Raises:
        InvalidInput: there are no such events.
        DamagedLake: a file is missing or not what was written.
    """
    ends = dict(ends_of(lake.load()) if offsets is None else offsets)
    cut = Cut(since, until, ends)
    gathered = _Gathered(forgotten_users(lake), dedupe_hours)
    for rows in read_rows(lake, EVENT_TOPICS, _COLUMNS, cut):
        gathered.add(rows)
    events = gathered.columns()
    kept = np.flatnonzero(_SPEAKS_FOR[events["types"]] & ~events["undo"] & ~_taken_back(events))
    if not len(kept):
        bound = "" if until is None else f" before {format_timestamp(until)}"
        raise InvalidInput(f"lake {lake.url} has no events to learn from{bound}: fill it with `freshet lake sync`")
    kept = kept[np.argsort(events["timestamps"][kept], kind="stable")]
    log = _log({name: column[kept] for name, column in events.items()}, gathered, read_catalogue(lake, cut))
    return Interactions(log, ends)


class _Gathered:
    """Events in the order of the log, each identity once.

    Args:
        forgotten: who was forgotten, and when.

    Attributes:
        user_ids, item_ids: ids by code.
    """

    def __init__(self, forgotten: Forgotten, dedupe_hours: int) -> None:
        self._forgotten = forgotten
        self._hours = dedupe_hours
        self._seen: dict[str, dict[int, set[bytes]]] = {}
        self._chunks: list[dict[str, Any]] = []
        self._count = 0
        self.user_ids: dict[str, int] = {}
        self.item_ids: dict[str, int] = {}
        self._origins: list[tuple[int, str]] = []  # of forwarded events without an id: position here, and where they come from

    def add(self, rows: pa.Table) -> None:
        """Take the next events of the log."""
        named = {name: rows.column(name).to_pylist() for name in ("user_id", "item_id", "event_id", "origin", "log_time")}
        fresh = [
            at
            for at, (user, event_id, origin, log_time) in enumerate(
                zip(named["user_id"], named["event_id"], named["origin"], named["log_time"], strict=True)
            )
            if log_time > self._forgotten.time_of(user) and self._is_new(user, event_id or origin, log_time // HOUR_MS)
        ]
        self._note_origins(fresh, named["event_id"], named["origin"])
        picked = rows.take(pa.array(fresh, pa.int64()))
        self._chunks.append(
            {
                "users": _codes([named["user_id"][at] for at in fresh], self.user_ids),
                "items": _codes([named["item_id"][at] for at in fresh], self.item_ids),
                "types": np.array([TYPE_CODES[kind] for kind in picked.column("type").to_pylist()], np.int64),
                "topics": np.array([EVENT_TOPICS.index(topic) for topic in picked.column("topic").to_pylist()], np.int64),
                "values": np.array(picked.column("value").to_pylist(), np.float32),
                "undo": np.array(picked.column("undo").to_pylist(), np.bool_),
                **{f"{name}s": picked.column(name).to_numpy().astype(np.int64) for name in ("timestamp", "partition", "offset")},
            }
        )
        self._count += len(fresh)

    def columns(self) -> Columns:
        """All events, column by column."""
        events = {name: np.concatenate([nothing, *(chunk[name] for chunk in self._chunks)]) for name, nothing in _NOTHING.items()}
        copies = _copies(events, self._origins)
        return {name: column[~copies] for name, column in events.items()} if copies.any() else events

    def _is_new(self, user: str, identity: str | None, hour: int) -> bool:
        """Note an identity as `stream_workers.handlers.user_stage` does; False if it is known."""
        if identity is None:
            return True
        digest = hashlib.blake2b(identity.encode(), digest_size=_ID_BYTES).digest()
        seen = self._seen.setdefault(user, {})
        if any(digest in hashes for hashes in seen.values()):
            return False
        if hour not in seen:
            seen[hour] = set()
            for old in [known for known in seen if known < hour - self._hours]:
                del seen[old]
        seen[hour].add(digest)
        return True

    def _note_origins(self, fresh: list[int], event_ids: list[str | None], origins: list[str | None]) -> None:
        for place, at in enumerate(fresh):
            origin = origins[at]
            if origin is not None and event_ids[at] is None:
                self._origins.append((self._count + place, origin))


def _codes(ids: list[str], known: dict[str, int]) -> I64:
    return np.array([known.setdefault(name, len(known)) for name in ids], np.int64)


def _copies(events: Columns, origins: list[tuple[int, str]]) -> NDArray[np.bool_]:
    """bool[N]: forwarded events whose original is here too; without an id of their own only the place tells."""
    copies = np.zeros(len(events["users"]), np.bool_)
    if not origins:
        return copies
    wanted = {origin for _, origin in origins}
    places = zip(events["topics"].tolist(), events["partitions"].tolist(), events["offsets"].tolist(), strict=True)
    here = wanted.intersection(f"{EVENT_TOPICS[topic]}:{partition}:{offset}" for topic, partition, offset in places)
    copies[[at for at, origin in origins if origin in here]] = True
    return copies


def _taken_back(events: Columns) -> NDArray[np.bool_]:
    """bool[N]: events that a later undo of the log took back, as `stream_workers.models.history` does."""
    taken = np.zeros(len(events["users"]), np.bool_)
    undone = np.flatnonzero(events["undo"])
    if not len(undone):
        return taken
    keys = np.stack([events[name] for name in ("users", "items", "types")], axis=1)
    _, same = np.unique(keys, axis=0, return_inverse=True)
    same = same.reshape(-1)
    concerned = np.flatnonzero(np.isin(same, same[undone]))
    said: dict[int, list[int]] = {}
    for at, key, undo in zip(concerned.tolist(), same[concerned].tolist(), events["undo"][concerned].tolist(), strict=True):
        if undo:
            _take_newest(at, said.get(key, []), events["timestamps"], taken)
        else:
            said.setdefault(key, []).append(at)
    return taken


def _take_newest(undo: int, said: list[int], timestamps: I64, taken: NDArray[np.bool_]) -> None:
    earlier = [at for at in said if timestamps[at] <= timestamps[undo]]
    if earlier:
        newest = max(earlier, key=lambda at: (timestamps[at], at))
        taken[newest] = True
        said.remove(newest)


def _log(events: Columns, gathered: _Gathered, entries: dict[str, Entry]) -> InteractionLog:
    """Events in the order of time as a log whose users and items are numbered as they first come."""
    users, user_ids = _renumbered(events["users"], list(gathered.user_ids))
    items, item_ids = _renumbered(events["items"], list(gathered.item_ids))
    firsts = np.unique(items, return_index=True)[1]
    first_taken = dict(zip(item_ids, events["timestamps"][firsts].tolist(), strict=True))
    catalogue = as_columns(dict.fromkeys((*item_ids, *entries)), entries, first_taken)
    ratings = np.where(events["types"] == EventType.RATING, events["values"], np.float32(np.nan))
    return checked(InteractionLog(users, items, events["timestamps"], ratings.astype(np.float32), tuple(user_ids), catalogue))


def _renumbered(codes: I64, ids: list[str]) -> tuple[I64, list[str]]:
    """int64[N] in the order of first appearance, and the ids that appear, in that order."""
    known, firsts, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    ranks = np.empty(len(known), np.int64)
    ranks[order] = np.arange(len(known))
    return ranks[inverse], [ids[code] for code in known[order].tolist()]
