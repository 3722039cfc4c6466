"""The feature store in Redis, 6.2 or later. (Keys are laid out for a Redis Cluster; this client speaks to a single primary.)

A partition's writer holds a connection of its own on which WATCH of the watermarks key is always armed: each commit sends
MULTI .. EXEC and the next WATCH in one go, so fencing costs no round trip. If anything else touched the watermarks (another worker,
FLUSHALL, a failover), EXEC writes nothing and the writer learns that it is fenced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import redis.asyncio as redis
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from feature_store.port import Writes
from schemas.errors import Fenced, StoreUnavailable

_DOWN: Final = (RedisError, OSError, TimeoutError)
Command = tuple[bytes | str | int, ...]


def _unavailable(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"Redis: {type(error).__name__}: {error}")


class RedisWriter:
    """Writer of one partition; see the module for how it is fenced."""

    def __init__(self, connection: AbstractConnection, key: bytes) -> None:
        self._connection = connection
        self._key = key
        self._watermarks: dict[str, int] = {}
        self._fenced = False

    @property
    def watermarks(self) -> Mapping[str, int]:
        """See `PartitionWriter`."""
        return self._watermarks

    async def open(self) -> None:
        """Connect, arm WATCH, read the watermarks."""
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]
            replies = await self._ask([("WATCH", self._key), ("HGETALL", self._key)])
        except _DOWN as error:
            await self.close()
            raise _unavailable(error) from error
        self._watermarks = _as_watermarks(replies[1])

    async def commit(self, writes: Writes) -> None:
        """See `PartitionWriter`."""
        if self._fenced:
            raise Fenced(f"{self._key.decode()} was written by another worker or flushed")
        commands = self._transaction(writes)
        try:
            replies = await self._ask([*commands, ("WATCH", self._key), ("HGETALL", self._key)])
        except _DOWN as error:
            await self.close()
            raise _unavailable(error) from error
        if replies[-3] is None:
            self._fenced = True
            raise Fenced(f"{self._key.decode()} was written by another worker or flushed")
        self._watermarks.update(writes.watermarks)
        # Written between our EXEC and our WATCH: this batch stands, the next one must not.
        self._fenced = _as_watermarks(replies[-1]) != self._watermarks

    async def close(self) -> None:
        """See `PartitionWriter`."""
        await self._connection.disconnect(nowait=True)

    def _transaction(self, writes: Writes) -> list[Command]:
        commands: list[Command] = [("MULTI",)]
        if writes.deletes:
            commands.append(("DEL", *writes.deletes))
        if writes.puts:
            commands.append(("MSET", *(part for pair in writes.puts.items() for part in pair)))
        if writes.watermarks:
            commands.append(("HSET", self._key, *(part for pair in writes.watermarks.items() for part in pair)))
        commands.append(("EXEC",))
        return commands

    async def _ask(self, commands: list[Command]) -> list[Any]:
        """Send all, read all; the first error is raised after the last reply was read, so that the connection stays in step."""
        connection = self._connection
        # hiredis packs in C what redis-py packs in a loop over the arguments.
        packed = [pack_command(command) for command in commands]  # type: ignore[arg-type]
        await connection.send_packed_command(packed, check_health=False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as error:
                replies.append(error)
        for reply in replies:  # the first is the cause; an EXECABORT behind it names none
            if isinstance(reply, ResponseError):
                raise reply
        return replies


def _as_watermarks(reply: Iterable[bytes] | Mapping[bytes, bytes]) -> dict[str, int]:
    if isinstance(reply, Mapping):
        return {name.decode(): int(offset) for name, offset in reply.items()}
    flat = list(reply)
    return {name.decode(): int(offset) for name, offset in zip(flat[::2], flat[1::2], strict=True)}


class RedisStore:
    """See `FeatureStore`.

    Args:
        url: redis://host:port/db.
        timeout_seconds: how long one call may take before `StoreUnavailable`.
    """

    def __init__(self, url: str, timeout_seconds: float = 5.0) -> None:
        options: dict[str, Any] = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
        # RESP 2: one reply form for every server from 6.2 on.
        self._client = redis.Redis.from_url(url, protocol=2, max_connections=64, **options)
        self.round_trips = 0

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `FeatureStore`."""
        if not keys:
            return []
        self.round_trips += 1
        return cast(list[bytes | None], await self._call(self._client.mget(keys)))

    async def claim(self, watermarks_key: bytes) -> RedisWriter:
        """See `FeatureStore`."""
        connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        writer = RedisWriter(connection, watermarks_key)
        await writer.open()
        return writer

    async def watermarks(self, watermarks_key: bytes) -> dict[str, int]:
        """See `FeatureStore`."""
        return _as_watermarks(await self._call(self._client.hgetall(watermarks_key)))

    async def put(self, key: bytes, value: bytes, expire_seconds: int | None = None) -> None:
        """See `FeatureStore`."""
        await self._call(self._client.set(key, value, ex=expire_seconds))

    async def put_if_absent(self, key: bytes, value: bytes) -> bytes:
        """See `FeatureStore`."""
        await self._call(self._client.set(key, value, nx=True))
        return cast(bytes, await self._call(self._client.get(key)))

    async def scan(self, prefix: bytes) -> AsyncIterator[list[bytes]]:
        """See `FeatureStore`."""
        pattern = b"".join(b"\\" + bytes((c,)) if c in b"*?[]\\^" else bytes((c,)) for c in prefix) + b"*"
        cursor: int = 0
        while True:
            cursor, keys = await self._call(self._client.scan(cursor, match=pattern, count=1000))
            if keys:
                yield keys
            if cursor == 0:
                return

    async def expire_unset(self, keys: Sequence[bytes], seconds: int) -> int:
        """See `FeatureStore`. (EXPIRE .. NX needs Redis 7, so: TTL of all, then EXPIRE where there is none.)"""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.ttl(key)
        lifetimes = await self._call(pipeline.execute())
        fresh = [key for key, lifetime in zip(keys, lifetimes, strict=True) if lifetime == -1]
        for key in fresh:
            pipeline.expire(key, seconds)
        await self._call(pipeline.execute())
        return len(fresh)

    async def close(self) -> None:
        """See `FeatureStore`."""
        await self._client.aclose()

    async def _call(self, awaited: Awaitable[Any]) -> Any:
        try:
            return await awaited
        except _DOWN as error:
            raise _unavailable(error) from error
