"""The store as one request sees it."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import StoreUnavailable
from serving.guarded_store import GuardedStore


class Reads:
    """Reads of one request: a failed read finds nothing, and is remembered."""

    def __init__(self, store: GuardedStore) -> None:
        self._store = store
        self.round_trips = 0
        self.failed = False

    async def blobs(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """One round trip; none for no keys."""
        if not keys:
            return []
        self.round_trips += self._store.answers
        try:
            return await self._store.read(keys)
        except StoreUnavailable:
            self.failed = True
            return [None] * len(keys)
