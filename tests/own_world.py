"""A product team's own source for tests: a real HTTP server that does what it is told, and an API that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from schemas.settings import Settings
from serving.services import Services
from tests.test_serving_world import SETTINGS, World

BUDGET_MS = 60
DEAD = "{editors: {url: 'http://127.0.0.1:9/x', timeout_ms: 60}}"
JSON = b"HTTP/1.1 200 OK\r\nset-cookie: of=somebody\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Shop:
    """Answers every POST by `behaviour`: a list is sent as JSON, bytes as they are; `hang`, `drip`, `close` are what they say.

    Attributes:
        asked: the bodies so far. headers: of each, as bytes. cut: connections that the client closed before the answer was whole.
    """

    def __init__(self) -> None:
        self.behaviour: Any = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
                )
                self.headers.append(head)
                self.asked.append(orjson.loads(await reader.readexactly(length)))
                await self._answer(writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self.behaviour == "hang":
            await asyncio.sleep(60)
        elif self.behaviour == "close":
            raise ConnectionResetError
        elif self.behaviour == "drip":
            writer.write(JSON % 1000)
            for _ in range(1000):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.005)
        elif isinstance(self.behaviour, bytes):
            writer.write(self.behaviour)
        else:
            body = orjson.dumps(self.behaviour)
            writer.write(JSON % len(body) + body)
        await writer.drain()


@asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    served: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())  # type: ignore[arg-type]
        await made.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/candidates"
    try:
        yield made
    finally:
        server.close()
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)


def asking(world: World, folder: Path, sources: str, surface: str = "{sources: {own: {editors: 1}}}", **settings: Any) -> Services:
    """Services with a surfaces file, in which `sources` are own ones and every request is of that surface."""
    file = folder / "surfaces.yaml"
    file.write_text(f"sources: {sources}\nsurfaces: {{default: {surface}}}\n")
    told = {"surfaces": file, "source_hosts": "127.0.0.1", **settings}
    return world.services(Settings(**{**SETTINGS.model_dump(), **told}))


async def follow(services: Services) -> Services:
    await services.background.refresh()
    await services.models.refresh()
    return services


def declared(made: Shop, **others: Any) -> str:
    told = {"url": f"'{made.url}'", "timeout_ms": BUDGET_MS, **others}
    return f"{{editors: {{{', '.join(f'{name}: {value}' for name, value in told.items())}}}}}"


async def recommend(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/recommendations", json={"user_id": "ann", "k": 10, **body})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def failures(client: httpx.AsyncClient, expected: int) -> dict[str, float]:
    """By reason. What does not end at once when its time is over is counted when it does, which may be after the answer."""
    for _ in range(100):
        lines = (await client.get("/metrics")).text.splitlines()
        told = [line for line in lines if line.startswith("freshet_source_failures_total")]
        found = {line.partition('reason="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in told}
        if sum(found.values()) >= expected:
            break
        await asyncio.sleep(0.01)
    return found
