"""The decision log in Redis: what requests decided, for a time and within a number of bytes that all API processes share.

Not part of the state: the log does not rebuild it, and nothing is ranked with it. One script adds records and takes the oldest out,
so the bound holds whoever writes and whoever dies. All keys have one hash tag.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Final, NamedTuple, Protocol, cast

import redis.asyncio as redis
from redis.exceptions import RedisError

from feature_store.keys import DECISION_BYTES, DECISION_ORDER, DECISION_SIZES, decision_key, decisions_of_key
from schemas.errors import StoreUnavailable

# Sizes are kept beside the order with the key of the person's set, so that whoever takes a record out finds both.
_APPEND: Final = """
local order, sizes, held = KEYS[1], KEYS[2], KEYS[3]
local seconds, most, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
for n = 4, #KEYS, 2 do
  local record, person, blob = KEYS[n], KEYS[n + 1], ARGV[n / 2 + 2]
  redis.call('SET', record, blob, 'EX', seconds)
  redis.call('SADD', person, record)
  redis.call('EXPIRE', person, seconds)
  redis.call('ZADD', order, now, record)
  redis.call('HSET', sizes, record, #blob .. ' ' .. person)
  redis.call('INCRBY', held, #blob)
end
while true do
  local oldest = redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')
  if not oldest[1] then break end
  local late = tonumber(oldest[2]) < now - 1000 * seconds
  if not late and tonumber(redis.call('GET', held) or 0) <= most then break end
  local size, person = string.match(redis.call('HGET', sizes, oldest[1]) or '0 ', '^(%d+) (.*)$')
  redis.call('UNLINK', oldest[1])
  if person ~= '' then redis.call('SREM', person, oldest[1]) end
  redis.call('ZREM', order, oldest[1])
  redis.call('HDEL', sizes, oldest[1])
  redis.call('DECRBY', held, size)
end
for n = 1, 3 do redis.call('EXPIRE', KEYS[n], seconds) end
"""
_FORGET: Final = """
for _, record in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  local entry = redis.call('HGET', KEYS[2], record)
  if entry then redis.call('DECRBY', KEYS[3], string.match(entry, '^%d+')) end
  redis.call('UNLINK', record)
  redis.call('ZREM', KEYS[1], record)
  redis.call('HDEL', KEYS[2], record)
end
redis.call('UNLINK', KEYS[4])
"""
_SHARED: Final = (DECISION_ORDER, DECISION_SIZES, DECISION_BYTES)


class DecisionRecord(NamedTuple):
    """One record: `user_id` is whom it is about, so that it can be forgotten with them."""

    request_id: str
    user_id: str
    blob: bytes


class DecisionStore(Protocol):
    """Keeps records of decisions for a while."""

    async def append(self, records: Sequence[DecisionRecord], now_ms: int) -> None:
        """Add records, and take the oldest out as far as there is no room or their time is over.

        Raises:
            StoreUnavailable: they may not have been added.
        """

    async def read(self, request_id: str) -> bytes | None:
        """A record; None: it is not there, or no longer.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def forget(self, user_id: str) -> None:
        """Take everything out that is about somebody.

        Raises:
            StoreUnavailable: it may still be there.
        """

    async def close(self) -> None:
        """Close connections."""


class RedisDecisions:
    """See `DecisionStore`.

    Args:
        url: redis://host:port/db.
        seconds: how long a record is kept.
        most_bytes: of all records together.
        timeout_seconds: how long one call may take.
    """

    def __init__(self, url: str, seconds: int, most_bytes: int, timeout_seconds: float = 2.0) -> None:
        options: dict[str, Any] = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
        self._client = redis.Redis.from_url(url, protocol=2, max_connections=8, **options)
        self._bounds = (seconds, most_bytes)
        self._append = self._client.register_script(_APPEND)
        self._forget = self._client.register_script(_FORGET)

    async def append(self, records: Sequence[DecisionRecord], now_ms: int) -> None:
        """See `DecisionStore`."""
        keys = [key for one in records for key in (decision_key(one.request_id), decisions_of_key(one.user_id))]
        await self._call(self._append([*_SHARED, *keys], [*self._bounds, now_ms, *(one.blob for one in records)]))

    async def read(self, request_id: str) -> bytes | None:
        """See `DecisionStore`."""
        return cast(bytes | None, await self._call(self._client.get(decision_key(request_id))))

    async def forget(self, user_id: str) -> None:
        """See `DecisionStore`."""
        await self._call(self._forget([*_SHARED, decisions_of_key(user_id)]))

    async def close(self) -> None:
        """See `DecisionStore`."""
        await self._client.aclose()

    async def _call(self, awaited: Awaitable[Any]) -> Any:
        try:
            return await awaited
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"Redis: {type(error).__name__}: {error}") from error
