"""What a feature store must do. `memory.py` and `redis_store.py` implement it; one contract suite runs on both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Writes:
    """What one processed batch of one partition changes, applied all or not at all.

    Attributes:
        puts: key to new blob.
        deletes: keys to remove.
        watermarks: field (`topic`, or `topic:partition` of a signal's source) to the last offset whose effect is contained.
    """

    puts: Mapping[bytes, bytes] = field(default_factory=dict)
    deletes: Collection[bytes] = ()
    watermarks: Mapping[str, int] = field(default_factory=dict)


class PartitionWriter(Protocol):
    """The only writer of one partition's keys, fenced by the partition's watermarks."""

    @property
    def watermarks(self) -> Mapping[str, int]:
        """The watermarks as last read or written; empty for a partition never written (or flushed)."""

    async def commit(self, writes: Writes) -> None:
        """Apply everything in one atomic step.

        Raises:
            Fenced: the stored watermarks are not the ones this writer left; nothing was written.
            StoreUnavailable: unknown whether it was written; claim again and compare watermarks.
        """

    async def close(self) -> None:
        """Give the partition back; closing twice is fine."""


class FeatureStore(Protocol):
    """Keys to packed blobs."""

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The blobs of many keys in one round trip, None where there is none.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def claim(self, watermarks_key: bytes) -> PartitionWriter:
        """Become the writer of the partition whose watermarks live under this key. A later claim fences an earlier one's next
        commit only if something was written in between; two writers never interleave.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def watermarks(self, watermarks_key: bytes) -> dict[str, int]:
        """The watermarks of a partition, without claiming it."""

    async def put(self, key: bytes, value: bytes, expire_seconds: int | None = None) -> None:
        """Write one key outside any partition (heartbeats, the layout).

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def put_if_absent(self, key: bytes, value: bytes) -> bytes:
        """Write the key if it does not exist; returns what is stored afterwards."""

    def scan(self, prefix: bytes) -> AsyncIterator[list[bytes]]:
        """All keys with this prefix, in chunks; keys written meanwhile may or may not appear."""

    async def expire_unset(self, keys: Sequence[bytes], seconds: int) -> int:
        """Give those of the keys that have no expiry one; returns how many got it."""

    async def close(self) -> None:
        """Close all connections."""
