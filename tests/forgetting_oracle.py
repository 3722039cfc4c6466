"""What items must hold after clicks, computed in the plainest way from the clicks alone: shares no code with the worker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from feature_store.item_blob import ItemState

HOUR, DAY = 3_600_000, 86_400_000
HALF_LIVES = [HOUR, 6 * HOUR, DAY, 4 * DAY, 14 * DAY, 60 * DAY]
WINDOWS = [(12, 5 * 60_000), (24, HOUR), (28, 6 * HOUR)]
DEPTH, DECAY, BACKWARD, PAIRS_HALVE = 10, 0.8, 0.5, 30.0 * DAY


class Click(NamedTuple):
    """One click; a user's clicks are produced in the order of their times."""

    user: str
    item: str
    at: int


class Expected(NamedTuple):
    """Of one item at a moment: clicks, decayed counts, clicks in the windows, weights of co-visited items."""

    clicks: int
    decayed: list[float]
    windows: list[int]
    neighbours: dict[str, float]


def expected(clicks: Sequence[Click], now: int) -> dict[str, Expected]:
    """Of every item that was clicked."""
    weights: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    by_item, by_user = defaultdict(list), defaultdict(list)
    for click in clicks:
        by_item[click.item].append(click.at)
        before = [item for item in dict.fromkeys(reversed(by_user[click.user])) if item != click.item][:DEPTH]
        for k, other in enumerate(before):
            weight = DECAY**k * 2 ** (-(now - click.at) / PAIRS_HALVE)
            weights[other][click.item] += weight
            weights[click.item][other] += BACKWARD * weight
        by_user[click.user].append(click.item)
    return {
        item: Expected(
            len(times), [sum(2 ** (-(now - at) / half) for at in times) for half in HALF_LIVES],
            [sum(now // width - at // width < count for at in times) for count, width in WINDOWS], dict(weights[item]),
        )
        for item, times in by_item.items()
    }  # fmt: skip


def assert_holds(state: ItemState | None, wanted: Expected | None, now: int, item: str) -> None:
    """Counts bit for bit, sums of floats nearly; nothing of an item that nobody clicked."""
    state, wanted = state or ItemState(), wanted or Expected(0, [0.0] * 6, [0] * 3, {})
    assert (state.counts[1], sum(state.counts)) == (wanted.clicks, wanted.clicks), item
    assert windows_of(state, now) == wanted.windows, item
    decayed = [value * 2 ** (-(now - state.newest) / half) for value, half in zip(state.decayed, HALF_LIVES, strict=True)]
    np.testing.assert_allclose(decayed, wanted.decayed, rtol=1e-9, atol=1e-9, err_msg=item)
    faded = 2 ** (-(now - state.neighbours_at) / PAIRS_HALVE)
    assert {other: weight * faded for other, weight in state.neighbours.items()} == pytest.approx(wanted.neighbours, rel=1e-3), item


def windows_of(state: ItemState, now: int) -> list[int]:
    """Sums of the rings of `state.buckets` that end at `now`, a moment not before the newest event."""
    found, start = [], 0
    for count, width in WINDOWS:
        ring, head = state.buckets[start : start + count], state.newest // width
        found.append(sum(ring[(head - age) % count] for age in range(count) if now // width - (head - age) < count))
        start += count
    return found


def as_record(click: Click, number: int) -> tuple[str, str, dict[str, Any]]:
    """Topic, key and fields of a click."""
    fields = {"user_id": click.user, "item_id": click.item, "timestamp": click.at, "event_id": f"{number}"}
    return "clicks", click.user, fields
