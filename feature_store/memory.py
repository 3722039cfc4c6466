"""The feature store in a dict, for replay, `freshet verify` and unit tests; fencing and expiry as in Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from feature_store.port import Writes
from schemas.errors import Fenced


class MemoryWriter:
    """Writer of one partition of a `MemoryStore`."""

    def __init__(self, store: MemoryStore, key: bytes) -> None:
        self._store = store
        self._key = key
        self._version = store.versions.get(key, 0)
        self._watermarks = dict(store.marks.get(key, {}))

    @property
    def watermarks(self) -> Mapping[str, int]:
        """See `PartitionWriter`."""
        return self._watermarks

    async def commit(self, writes: Writes) -> None:
        """See `PartitionWriter`."""
        store = self._store
        if store.versions.get(self._key, 0) != self._version:
            raise Fenced(f"{self._key.decode()} was written by another worker or flushed")
        for key in writes.deletes:
            store.blobs.pop(key, None)
            store.deadlines.pop(key, None)
        for key, blob in writes.puts.items():
            store.blobs[key] = blob
            store.deadlines.pop(key, None)
        if not writes.watermarks:  # as WATCH of the watermarks sees it: others are not fenced
            return
        self._watermarks.update(writes.watermarks)
        store.marks[self._key] = dict(self._watermarks)
        self._version += 1
        store.versions[self._key] = self._version

    async def close(self) -> None:
        """See `PartitionWriter`."""


class MemoryStore:
    """See `FeatureStore`.

    Args:
        clock: seconds; decides when keys expire.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.blobs: dict[bytes, bytes] = {}
        self.deadlines: dict[bytes, float] = {}
        self.marks: dict[bytes, dict[str, int]] = {}
        self.versions: dict[bytes, int] = {}

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `FeatureStore`."""
        self._expire()
        return [self.blobs.get(key) for key in keys]

    async def claim(self, watermarks_key: bytes) -> MemoryWriter:
        """See `FeatureStore`."""
        return MemoryWriter(self, watermarks_key)

    async def watermarks(self, watermarks_key: bytes) -> dict[str, int]:
        """See `FeatureStore`."""
        return dict(self.marks.get(watermarks_key, {}))

    async def put(self, key: bytes, value: bytes, expire_seconds: int | None = None) -> None:
        """See `FeatureStore`."""
        self.blobs[key] = value
        self.deadlines.pop(key, None)
        if expire_seconds is not None:
            self.deadlines[key] = self._clock() + expire_seconds

    async def put_if_absent(self, key: bytes, value: bytes) -> bytes:
        """See `FeatureStore`."""
        self._expire()
        return self.blobs.setdefault(key, value)

    async def scan(self, prefix: bytes) -> AsyncIterator[list[bytes]]:
        """See `FeatureStore`."""
        self._expire()
        yield [key for key in self.blobs if key.startswith(prefix)]

    async def expire_unset(self, keys: Sequence[bytes], seconds: int) -> int:
        """See `FeatureStore`."""
        fresh = [key for key in keys if key in self.blobs and key not in self.deadlines]
        self.deadlines.update({key: self._clock() + seconds for key in fresh})
        return len(fresh)

    async def close(self) -> None:
        """See `FeatureStore`."""

    def flush(self) -> None:
        """Forget everything, as FLUSHALL does; open writers are fenced."""
        self.blobs.clear()
        self.deadlines.clear()
        self.marks.clear()
        self.versions = {key: version + 1 for key, version in self.versions.items()}

    def _expire(self) -> None:
        now = self._clock()
        for key in [key for key, deadline in self.deadlines.items() if deadline <= now]:
            del self.deadlines[key], self.blobs[key]
