"""The time scales of popularity: half-lives of decayed counts and windows of exact counts. Stored in every item's blob."""

from __future__ import annotations

from typing import Final, NamedTuple

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

HALF_LIVES: Final[dict[str, int]] = {
    "1h": HOUR_MS,
    "6h": 6 * HOUR_MS,
    "24h": DAY_MS,
    "4d": 4 * DAY_MS,
    "14d": 14 * DAY_MS,
    "60d": 60 * DAY_MS,
}
"""Name to half-life in ms: a count halves in this time."""


class Window(NamedTuple):
    """A sliding window made of tumbling buckets.

    Attributes:
        buckets: how many buckets the window spans.
        bucket_ms: width of one bucket; the window slides in steps of it.
    """

    buckets: int
    bucket_ms: int


WINDOWS: Final[dict[str, Window]] = {
    "1h": Window(12, 5 * 60_000),
    "24h": Window(24, HOUR_MS),
    "7d": Window(28, 6 * HOUR_MS),
}
TOTAL_BUCKETS: Final = sum(window.buckets for window in WINDOWS.values())
