"""The feature store as a request may use it: within a time limit, and not at all while it is known to be gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from schemas.errors import StoreUnavailable

log = logging.getLogger(__name__)

# Fewer than the connections of RedisStore, whose pool raises when it runs out instead of waiting.
_CONCURRENT_READS: Final = 48


class Reader(Protocol):
    """The part of `feature_store.port.FeatureStore` that serving uses."""

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `FeatureStore`."""

    def scan(self, prefix: bytes) -> AsyncIterator[list[bytes]]:
        """See `FeatureStore`."""

    async def close(self) -> None:
        """See `FeatureStore`."""


class GuardedStore:
    """Reads with a time limit and a circuit breaker.

    After a read fails, no request waits for the store again until a `probe` succeeds; the background probes a few times a second.

    Args:
        store: the store behind.
        timeout_seconds: a read that takes longer counts as failed.

    Attributes:
        answers: whether the last thing heard from the store was an answer.
    """

    def __init__(self, store: Reader, timeout_seconds: float) -> None:
        self._store = store
        self._timeout = timeout_seconds
        self._slots = asyncio.Semaphore(_CONCURRENT_READS)
        self.answers = True

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The blobs of many keys in one round trip, None where there is none.

        Raises:
            StoreUnavailable: it failed, took too long, or was gone a moment ago and is not asked.
        """
        if not self.answers:
            raise StoreUnavailable("the store did not answer a moment ago")
        return await self._ask(keys)

    async def probe(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """`read`, also while the store is thought to be gone; an answer lets requests ask again.

        Raises:
            StoreUnavailable: it failed or took too long.
        """
        blobs = await self._ask(keys)
        if not self.answers:
            log.warning("store: answers again")
            self.answers = True
        return blobs

    async def fetch(self, keys: Sequence[bytes], timeout_seconds: float) -> list[bytes | None]:
        """`read` for the background: large blobs, which may take longer than a request would wait without the store being gone.

        Raises:
            StoreUnavailable: it failed or took too long.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._store.read(keys)
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {timeout_seconds * 1000:.0f} ms") from error

    async def values(self, prefix: bytes, timeout_seconds: float) -> list[bytes]:
        """The values of all keys with this prefix. Walks through the key space: not for requests that people wait for.

        Raises:
            StoreUnavailable: it failed or took too long.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                keys = [key async for chunk in self._store.scan(prefix) for key in chunk]
                return [blob for blob in await self._store.read(keys) if blob is not None]
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {timeout_seconds * 1000:.0f} ms") from error

    async def close(self) -> None:
        """Close the store behind."""
        await self._store.close()

    async def _ask(self, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                return await self._store.read(keys)
        except TimeoutError as error:
            self._gone(f"no answer within {self._timeout * 1000:.0f} ms")
            raise StoreUnavailable(f"no answer within {self._timeout * 1000:.0f} ms") from error
        except StoreUnavailable as error:
            self._gone(str(error))
            raise

    def _gone(self, why: str) -> None:
        if self.answers:
            log.warning("store: %s; answering without it", why)
        self.answers = False


class AbsentStore:
    """Stands in where no store is configured: every read says so."""

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Always fails.

        Raises:
            StoreUnavailable: always.
        """
        raise StoreUnavailable("no Redis address: set FRESHET_REDIS")

    async def scan(self, prefix: bytes) -> AsyncIterator[list[bytes]]:
        """Always fails.

        Raises:
            StoreUnavailable: always.
        """
        raise StoreUnavailable("no Redis address: set FRESHET_REDIS")
        yield []

    async def close(self) -> None:
        """Nothing to close."""
