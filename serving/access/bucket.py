"""A token bucket that is kept as one number: when it will be full again.

This form is the generic cell rate algorithm, ITU-T I.371 (2004), annex A: a request is allowed as long as the bucket, which gains a
token every `interval` and holds `burst` of them, is not empty. All times are integer microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Rate:
    """How often somebody may call: `per_second` in the long run, `burst` at once."""

    per_second: float
    burst: int

    @property
    def interval_us(self) -> int:
        """Time in which a token comes back."""
        return max(1, round(1_000_000 / self.per_second))


class Verdict(NamedTuple):
    """What a bucket says to one request.

    Attributes:
        allowed: there was a token for it.
        remaining: tokens that are left.
        retry_us: when there will be one; 0 where there was one.
        full_us: when the bucket will be full.
    """

    allowed: bool
    remaining: int
    retry_us: int
    full_us: int


def spend(full_at: int, now: int, rate: Rate) -> tuple[int, Verdict]:
    """Take a token if there is one.

    Args:
        full_at: when the bucket would be full; anything up to `now`: it is.

    Returns:
        When it will be full now, and the verdict.

    >>> spend(0, 1_000_000, Rate(per_second=2, burst=3))
    (1500000, Verdict(allowed=True, remaining=2, retry_us=0, full_us=500000))
    """
    interval, depth = rate.interval_us, rate.burst * rate.interval_us
    full_at = min(max(full_at, now), now + depth)  # never emptier than empty, if a clock was set back or the rate was changed
    wait = full_at + interval - now - depth
    if wait > 0:
        return full_at, Verdict(False, 0, wait, full_at - now)
    full_at += interval
    return full_at, Verdict(True, (depth - (full_at - now)) // interval, 0, full_at - now)
