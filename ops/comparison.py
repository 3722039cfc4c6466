"""Compares what the store holds with what the log says it should hold. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from feature_store.forgotten_blob import unpack_forgotten
from feature_store.item_blob import ItemState, unpack_item
from feature_store.packing import CorruptBlob
from feature_store.user_blob import EVENT_ID_BYTES, UserState, unpack_user

RELATIVE: Final = 1e-3
"""Affinities and neighbour weights are stored as float32 and summed in the order of arrival."""
RELATIVE_COUNT: Final = 1e-6
"""Decayed counts are stored as float64; only the order of summation differs."""
SHARED_WEIGHT: Final = 0.5
"""A full neighbour list gives up its weakest entry for a newcomer, and which one that is depends on how partitions interleave. So
of two full lists at least this share of the weight must agree."""


class Difference(NamedTuple):
    """One field of one key that is not as the log says."""

    key: str
    field: str
    expected: Any
    found: Any


def compare_users(key: str, expected: bytes | None, found: bytes | None, sure_affinities: bool = True) -> Iterator[Difference]:
    """Differences between two user blobs. How long the effect took is not compared.

    Args:
        sure_affinities: False if the catalogue changed after the user's events: then the log does not say which categories counted.
    """
    return _compare(key, expected, found, unpack_user, lambda e, f: _user_fields(key, e, f, sure_affinities))


def compare_items(key: str, expected: bytes | None, found: bytes | None, places: int) -> Iterator[Difference]:
    """Differences between two item blobs.

    Args:
        places: neighbours kept per item.
    """
    return _compare(key, expected, found, unpack_item, lambda e, f: _item_fields(key, e, f, places))


def compare_forgotten(key: str, expected: bytes | None, found: bytes | None) -> Iterator[Difference]:
    """Differences between two blobs of forgotten users: how many and when. Their hashes have another key in every store."""
    return _compare(key, expected, found, unpack_forgotten, lambda e, f: _times_of_forgotten(key, e, f))


def _times_of_forgotten(key: str, expected: Mapping[bytes, int], found: Mapping[bytes, int]) -> Iterator[Difference]:
    times = sorted(expected.values()), sorted(found.values())
    if times[0] != times[1]:
        yield Difference(key, "forgotten", *times)


def _compare(
    key: str,
    expected: bytes | None,
    found: bytes | None,
    unpack: Callable[[bytes], Any],
    fields: Callable[[Any, Any], Iterable[Difference]],
) -> Iterator[Difference]:
    if expected is None or found is None:
        if expected is not found:
            yield Difference(key, "key", _presence(expected), _presence(found))
        return
    try:
        state = unpack(found)
    except CorruptBlob as error:
        yield Difference(key, "blob", "intact", str(error))
        return
    yield from fields(unpack(expected), state)


def _presence(blob: bytes | None) -> str:
    return "absent" if blob is None else "present"


def _user_fields(key: str, expected: UserState, found: UserState, sure_affinities: bool) -> Iterator[Difference]:
    for name in ("counts", "history", "newest", "forgotten"):
        if getattr(expected, name) != getattr(found, name):
            yield Difference(key, name, getattr(expected, name), getattr(found, name))
    if _hashes(expected) != _hashes(found):
        yield Difference(key, "seen", expected.seen, found.seen)
    if sure_affinities and not _close(expected.affinities, found.affinities):
        yield Difference(key, "affinities", expected.affinities, found.affinities)


def _hashes(state: UserState) -> dict[int, set[bytes]]:
    """Hashes of event ids by hour; their order within an hour is the order in which the topics were read."""
    size = EVENT_ID_BYTES
    return {hour: {ids[at : at + size] for at in range(0, len(ids), size)} for hour, ids in state.seen.items()}


def _item_fields(key: str, expected: ItemState, found: ItemState, places: int) -> Iterator[Difference]:
    for name in ("counts", "newest", "buckets"):
        if getattr(expected, name) != getattr(found, name):
            yield Difference(key, name, getattr(expected, name), getattr(found, name))
    if not all(math.isclose(e, f, rel_tol=RELATIVE_COUNT) for e, f in zip(expected.decayed, found.decayed, strict=True)):
        yield Difference(key, "decayed", expected.decayed, found.decayed)
    full = max(len(expected.neighbours), len(found.neighbours)) >= places
    agree = _mostly_close if full else _close
    if not agree(expected.neighbours, found.neighbours):
        yield Difference(key, "neighbours", expected.neighbours, found.neighbours)


def _close(expected: Mapping[str, float], found: Mapping[str, float]) -> bool:
    return expected.keys() == found.keys() and all(math.isclose(w, found[k], rel_tol=RELATIVE) for k, w in expected.items())


def _mostly_close(expected: Mapping[str, float], found: Mapping[str, float]) -> bool:
    shared = sum(min(weight, found.get(item, 0.0)) for item, weight in expected.items())
    return shared >= SHARED_WEIGHT * max(sum(expected.values()), sum(found.values()))
