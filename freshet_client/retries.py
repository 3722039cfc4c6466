"""When to try again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from freshet_client.errors import ApiError, FreshetError, Unreachable

# Asking too often, the API's own 503, and a proxy that does not reach the API.
PASSING: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and after which pauses a call is tried again when no answer came, or 429, 502, 503 or 504.

    Every call may be repeated: reading changes nothing, and events carry the id by which the server counts them once. The pause
    after the n-th failure is drawn evenly from 0 to min(cap, base * 2^(n-1)) ("full jitter": Brooker, AWS Architecture Blog, 2015);
    where the server named one (`Retry-After`, RFC 9110 10.2.3), that is added.

    Attributes:
        attempts: how often a call is tried at most; 1: never again.
        base, cap: seconds.
        patience: seconds; a server that names a longer pause is not waited for.
    """

    attempts: int = 4
    base: float = 0.2
    cap: float = 10.0
    patience: float = 30.0

    def pause(self, failures: int, error: FreshetError, rng: random.Random) -> float | None:
        """Seconds to wait after so many failures, the last with this error; None: it is final."""
        asked = retry_after_of(error)
        if failures >= self.attempts or not passing(error) or asked > self.patience:
            return None
        return asked + self.jitter(failures, rng)

    def jitter(self, failures: int, rng: random.Random) -> float:
        """Seconds, drawn evenly up to the bound of that many failures."""
        return rng.uniform(0.0, min(self.cap, self.base * 2.0 ** min(failures - 1, 60)))


def passing(error: FreshetError) -> bool:
    """Whether the same call may succeed later."""
    return isinstance(error, Unreachable) or (isinstance(error, ApiError) and error.status in PASSING)


def retry_after_of(error: FreshetError) -> float:
    """The pause that the server asked for, in seconds; 0.0: none."""
    return (isinstance(error, ApiError) and error.retry_after) or 0.0


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds of a `Retry-After` header, which is a number of seconds or a date; None: it is neither.

    >>> parse_retry_after("120")
    120.0
    >>> parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT", datetime(1999, 12, 31, 23, 59, 29, tzinfo=UTC))
    30.0
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    zoned = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (zoned - (now or datetime.now(UTC))).total_seconds())
