"""Buckets that all API processes share in Redis, and a process's own for the time when Redis does not answer."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol

import redis.asyncio as redis
from redis.exceptions import RedisError

from schemas.errors import StoreUnavailable
from serving.access.bucket import Rate, Verdict, spend

log = logging.getLogger(__name__)

PREFIX: Final = b"limit:"
_MOST_BUCKETS: Final = 20_000
_PAUSE_SECONDS: Final = 1.0
_CONNECTIONS: Final = 32

# `spend` of serving/access/bucket.py by the clock of Redis: one step that nothing comes between, on Redis 6.2 and later.
_SPEND: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, depth = tonumber(ARGV[1]), ARGV[1] * ARGV[2]
local full_at = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or now), now), now + depth)
local wait = full_at + interval - now - depth
if wait > 0 then return {0, 0, wait, full_at - now} end
full_at = full_at + interval
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return {1, math.floor((depth - (full_at - now)) / interval), 0, full_at - now}
"""


class Buckets(Protocol):
    """Buckets by name."""

    async def spend(self, bucket: bytes) -> Verdict:
        """Take a token out of a bucket. Raises StoreUnavailable."""

    async def close(self) -> None:
        """Let go of what they need."""


class SharedBuckets:
    """Buckets in Redis; each lives as long as it is not full.

    Args:
        url: redis://host:port/db.
        timeout_seconds: how long a call may take before StoreUnavailable.
    """

    def __init__(self, url: str, rate: Rate, timeout_seconds: float) -> None:
        options: dict[str, Any] = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
        pool = redis.BlockingConnectionPool.from_url(url, protocol=2, max_connections=_CONNECTIONS, **options)
        self._client = redis.Redis(connection_pool=pool)
        self._script = self._client.register_script(_SPEND)
        self._arguments = [rate.interval_us, rate.burst]
        self._timeout = timeout_seconds

    async def spend(self, bucket: bytes) -> Verdict:
        """See `Buckets`; one round trip."""
        try:
            async with asyncio.timeout(self._timeout):
                allowed, remaining, retry_us, full_us = await self._script(keys=[PREFIX + bucket], args=self._arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"Redis: {type(error).__name__}: {error}") from error
        return Verdict(bool(allowed), remaining, retry_us, full_us)

    async def close(self) -> None:
        """See `Buckets`."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


class OwnBuckets:
    """Buckets of this process alone. Those not used for longest are given up: whoever comes back then finds a full one.

    Args:
        clock: seconds, never going back.
        most: how many are kept.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = monotonic, most: int = _MOST_BUCKETS) -> None:
        self._rate = rate
        self._clock = clock
        self._most = most
        self._full_at: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def spend(self, bucket: bytes) -> Verdict:
        """Take a token out of a bucket."""
        self._full_at[bucket], verdict = spend(self._full_at.get(bucket, 0), int(self._clock() * 1_000_000), self._rate)
        self._full_at.move_to_end(bucket)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return verdict


class Limiter:
    """The shared buckets while they answer, else this process's own: a request never fails for lack of Redis.

    Args:
        rate: of every bucket.
        shared: None: there is no Redis.
        store_answers: whether Redis is thought to answer; while not, it is not asked.
        on_local: called for every verdict that is this process's own.
    """

    def __init__(
        self,
        rate: Rate,
        shared: Buckets | None,
        store_answers: Callable[[], bool],
        on_local: Callable[[], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.rate = rate
        self._shared = shared
        self._own = OwnBuckets(rate, clock)
        self._store_answers = store_answers
        self._on_local = on_local
        self._clock = clock
        self._ask_again = 0.0
        self._alone = False

    async def spend(self, bucket: bytes) -> Verdict:
        """Take a token out of a bucket."""
        if self._shared is not None and self._clock() >= self._ask_again and self._store_answers():
            try:
                verdict = await self._shared.spend(bucket)
            except StoreUnavailable as error:
                self._without(error)
            else:
                self._alone = False
                return verdict
        self._on_local()
        return self._own.spend(bucket)

    async def close(self) -> None:
        """Let go of Redis."""
        if self._shared is not None:
            await self._shared.close()

    def _without(self, error: StoreUnavailable) -> None:
        if not self._alone:
            log.warning("rate limits: %s; each process counts for itself", error)
        self._alone = True
        self._ask_again = self._clock() + _PAUSE_SECONDS
