"""A decision log in memory, and requests that can be asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from feature_store.decision_store import DecisionRecord
from schemas.errors import StoreUnavailable


class ListedDecisions:
    """Keeps all, or is away."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.users: dict[str, str] = {}
        self.batches: list[int] = []
        self.away = False
        self.closed = False

    async def append(self, records: Sequence[DecisionRecord], now_ms: int) -> None:
        self._check()
        self.batches.append(len(records))
        self.blobs.update({one.request_id: one.blob for one in records})
        self.users.update({one.request_id: one.user_id for one in records})

    async def read(self, request_id: str) -> bytes | None:
        self._check()
        return self.blobs.get(request_id)

    async def forget(self, user_id: str) -> None:
        self._check()
        for request_id in [key for key, user in self.users.items() if user == user_id]:
            del self.blobs[request_id], self.users[request_id]

    async def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("Redis: refused")


class Asked:
    """One recommendation, and what can be asked about it."""

    def __init__(self, client: httpx.AsyncClient, answer: dict[str, Any]) -> None:
        self._client = client
        self.answer = answer
        self.path = f"/v1/requests/{answer['request_id']}"

    async def page(self) -> dict[str, Any]:
        return await self._get(self.path)

    async def why(self, item: str) -> dict[str, Any]:
        return await self._get(f"{self.path}/why", item_id=item)

    async def _get(self, path: str, **params: str) -> dict[str, Any]:
        response = await self._client.get(path, params=params)
        assert response.status_code == 200, response.text
        return dict(response.json())


async def asked(client: httpx.AsyncClient, **body: Any) -> Asked:
    response = await client.post("/v1/recommendations", json={"user_id": "ann", **body})
    assert response.status_code == 200, response.text
    return Asked(client, response.json())
