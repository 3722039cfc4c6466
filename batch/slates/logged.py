"""Slates as serving logged them: impressions that carry what the blend's network saw, and the clicks that came of them.

Point in time: the features are those of the moment the slate was shown, nothing is worked out again. A click belongs to the slate
whose `request_id` it names; one that names none, to the newest slate that showed the item to that person within the window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from batch.lake.forgotten import Forgotten, forgotten_users
from batch.lake.lake import Lake
from batch.lake.rows import ends_of, read_rows
from batch.slates.columns import F32, I64, NEVER, NO_ITEM, ItemContent, Slates
from feature_store.feature_vectors import decoded
from schemas.errors import InvalidInput
from schemas.topics import CLICKS, IMPRESSIONS

WINDOW_MS: Final = 30 * 60_000
_IMPRESSION: Final = ("request_id", "user_id", "timestamp", "items", "feature_names", "features", "log_time")
_CLICK: Final = ("request_id", "user_id", "item_id", "timestamp", "log_time")
_SMALLEST: Final = 2  # items that can be put in an order
_LATELY: Final = 1000  # impressions


class LoggedSlates(NamedTuple):
    """S slates with features, oldest first.

    Attributes:
        slates: sessions are users. vectors: float32[S, W, F], as serving saw them, 0 behind the last item of a slate; the last
            feature is the log of the blend's probability. places: int64[S, W], where each item stood, from 0.
        features: digest of the features' names. window: ms within which a click counts.
        left_out: why how many impressions or clicks are not in it. offsets: how far the lake was read, by `topic-partition`.
    """

    slates: Slates
    vectors: F32
    places: I64
    features: str
    window: int
    left_out: Mapping[str, int]
    offsets: Mapping[str, int]


class _Shown(NamedTuple):
    """One impression; `octets`: of each item's vector, None where it has none."""

    request: str
    user: str
    time: int
    items: list[str]
    places: list[int]
    features: str | None
    octets: list[bytes | None]


def read_logged(lake: Lake, window: int = WINDOW_MS) -> LoggedSlates:
    """The slates of a lake whose features are those that serving has lately, and whose window is over.

    Args:
        window: ms after an impression within which a click counts for it; younger impressions are left out: nobody knows yet.

    Raises:
        InvalidInput: there is no impression with features, or no click on one.
        DamagedLake: a file is missing or not what was written.
    """
    left_out: Counter[str] = Counter()
    offsets, forgotten = ends_of(lake.load()), forgotten_users(lake)
    shown = list(_impressions(lake, forgotten, left_out))
    clicks, latest = _clicks(lake, forgotten, shown, window, left_out)
    told = [one for one in sorted(shown, key=lambda one: one.time) if one.features is not None and any(one.octets)]
    if not told:
        raise InvalidInput(f"lake {lake.url}: none of {len(shown):,} impressions has features; see FRESHET_FEATURE_SAMPLE")
    features, until = _served_lately(told), max(latest, told[-1].time) - window
    kept = list(_kept(told, features, until, left_out))
    if not kept or not any((at.request, item) in clicks for at in kept for item in at.items):
        raise InvalidInput(f"lake {lake.url}: no click on any of {len(kept):,} impressions with features whose window is over")
    return LoggedSlates(*_columns(kept, clicks), features, window, dict(left_out), offsets)


def _impressions(lake: Lake, forgotten: Forgotten, left_out: Counter[str]) -> Iterator[_Shown]:
    """Every impression once, in the order of the log."""
    seen = set[str]()
    for rows in read_rows(lake, [IMPRESSIONS], _IMPRESSION):
        for row in rows.to_pylist():
            if row["log_time"] <= forgotten.time_of(row["user_id"]):
                left_out["impressions of forgotten people"] += 1
            elif row["request_id"] in seen:
                left_out["impressions that came twice"] += 1
            else:
                seen.add(row["request_id"])
                yield _shown(row)


def _shown(row: Mapping[str, Any]) -> _Shown:
    octets = row["features"] or [None] * len(row["items"])
    order = sorted(range(len(row["items"])), key=lambda at: row["items"][at]["position"])
    items = [row["items"][at] for at in order]
    return _Shown(
        row["request_id"], row["user_id"], row["timestamp"], [one["item_id"] for one in items], [one["position"] for one in items],
        row["feature_names"], [octets[at] for at in order],
    )  # fmt: skip


def _clicks(
    lake: Lake, forgotten: Forgotten, shown: list[_Shown], window: int, left_out: Counter[str]
) -> tuple[dict[tuple[str, str], int], int]:
    """(request, item) to the moment of its first click, and the moment of the newest click of all."""
    by_request = {one.request: one for one in shown}
    by_person = _by_person(shown)
    found: dict[tuple[str, str], int] = {}
    latest = 0
    for rows in read_rows(lake, [CLICKS], _CLICK):
        for row in rows.to_pylist():
            item, time = row["item_id"], row["timestamp"]
            latest = max(latest, time)
            if row["log_time"] <= forgotten.time_of(row["user_id"]):
                continue
            named = row["request_id"]
            slate = by_request.get(named) if named else _newest_before(by_person.get((row["user_id"], item), []), time)
            if slate is None or item not in slate.items or not slate.time <= time <= slate.time + window:
                left_out["clicks of no impression"] += 1
                continue
            key = slate.request, item
            found[key] = min(found.get(key, time), time)
    return found, latest


def _by_person(shown: list[_Shown]) -> dict[tuple[str, str], list[_Shown]]:
    """(user, item) to the impressions that showed it to them, oldest first."""
    found: dict[tuple[str, str], list[_Shown]] = {}
    for one in sorted(shown, key=lambda one: one.time):
        for item in one.items:
            found.setdefault((one.user, item), []).append(one)
    return found


def _newest_before(shown: list[_Shown], time: int) -> _Shown | None:
    at = bisect_right(shown, time, key=lambda one: one.time)
    return shown[at - 1] if at else None


def _served_lately(told: list[_Shown]) -> str:
    """The features that most of the newest impressions have; a stray one of another producer decides nothing."""
    return Counter(one.features for one in told[-_LATELY:] if one.features).most_common(1)[0][0]


def _kept(told: list[_Shown], features: str, until: int, left_out: Counter[str]) -> Iterator[_Shown]:
    """The impressions to learn from, each with those of its items that have features of the usual width, all of them numbers."""
    sizes = Counter(len(octets) for one in told if one.features == features for octets in one.octets if octets)
    width = sizes.most_common(1)[0][0]
    for one in told:
        if one.features != features:
            left_out["impressions with other features"] += 1
        elif one.time > until:
            left_out["impressions whose window is open"] += 1
        else:
            rows = [at for at, octets in enumerate(one.octets) if octets is not None and _fits(octets, width)]
            if len(rows) < _SMALLEST:
                left_out["impressions with fewer than two items that have features"] += 1
                continue
            items, places = [one.items[at] for at in rows], [one.places[at] for at in rows]
            yield one._replace(items=items, places=places, octets=[one.octets[at] for at in rows])


def _fits(octets: bytes, width: int) -> bool:
    return len(octets) == width and bool(np.isfinite(decoded(octets)).all())


def _columns(kept: list[_Shown], clicks: Mapping[tuple[str, str], int]) -> tuple[Slates, F32, I64]:
    row_of = {item: row for row, item in enumerate(dict.fromkeys(item for one in kept for item in one.items))}
    user_of = {user: row for row, user in enumerate(dict.fromkeys(one.user for one in kept))}
    shape = len(kept), max(len(one.items) for one in kept)
    items, times, places = np.full(shape, NO_ITEM, np.int64), np.full(shape, NEVER, np.int64), np.zeros(shape, np.int64)
    vectors = np.zeros((*shape, len(decoded(kept[0].octets[0] or b""))), np.float32)
    for at, one in enumerate(kept):
        n = len(one.items)
        items[at, :n] = [row_of[item] for item in one.items]
        times[at, :n] = [clicks.get((one.request, item), NEVER) for item in one.items]
        places[at, :n] = one.places
        vectors[at, :n] = [decoded(octets or b"") for octets in one.octets]
    shown_at, users = np.array([one.time for one in kept], np.int64), np.array([user_of[one.user] for one in kept], np.int64)
    requests = tuple(one.request for one in kept)
    return Slates(items, times, shown_at, users, requests, tuple(user_of), _nothing_told(tuple(row_of))), vectors, places


def _nothing_told(ids: tuple[str, ...]) -> ItemContent:
    """Items of which only the ids matter here."""
    nothing: tuple[tuple[str, ...], ...] = ((),) * len(ids)
    return ItemContent(ids, ("",) * len(ids), nothing, nothing, nothing, np.zeros((len(ids), 0)), ())
