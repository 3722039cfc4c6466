"""A load generator that costs little: HTTP/1.1 over raw connections, one request on each at a time.

On a machine that it shares with what it measures, a generator that needs a millisecond of CPU a request measures itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast
from urllib.parse import urlsplit

import orjson
import uvloop

T = TypeVar("T")

_MOST_CONNECTIONS: Final = 2000
_HEAD_END: Final = b"\r\n\r\n"


class Reply(NamedTuple):
    """What came back. `milliseconds` is the time from when the request was due, whether or not it could be sent then."""

    status: int
    milliseconds: float
    retry_after: bool
    body: bytes


def get(path: str) -> bytes:
    """A request."""
    return f"GET {path} HTTP/1.1\r\nHost: api\r\n\r\n".encode()


def post(path: str, document: Any) -> bytes:
    """A request with a JSON body."""
    body = orjson.dumps(document)
    head = f"POST {path} HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One request at a time; answers must have a Content-Length."""

    def __init__(self) -> None:
        self._received = b""
        self._waiting: asyncio.Future[tuple[bytes, bytes]] | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(_HEAD_END)
        if not found or self._waiting is None or self._waiting.done():
            return
        start = head.lower().index(b"content-length:") + 15
        if len(body) >= int(head[start:].split(b"\r\n", 1)[0]):
            self._received = b""
            self._waiting.set_result((head, body))

    def close(self) -> None:
        self._transport.close()

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting


class Client:
    """Requests to one server, over as many connections as are needed at the same time."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._idle: list[_Connection] = []
        self._room = asyncio.Semaphore(_MOST_CONNECTIONS)

    async def ask(self, request: bytes, due: float | None = None) -> Reply:
        """The answer to one request, due now or at that moment of `time.perf_counter`.

        Raises:
            OSError: the server cannot be reached, or closed the connection instead of answering.
        """
        due = time.perf_counter() if due is None else due
        async with self._room:
            connection = self._idle.pop() if self._idle else await self._connected()
            head, body = await connection.ask(request)
            if connection.open:
                self._idle.append(connection)
        milliseconds = 1000 * (time.perf_counter() - due)
        return Reply(int(head[9:12]), milliseconds, b"\r\nretry-after:" in head.lower(), body)

    async def at_rate(self, requests: Sequence[bytes], per_second: float) -> list[Reply]:
        """Open loop: each request at its time, whatever became of the others."""
        started, tasks = time.perf_counter(), []
        for n, request in enumerate(requests):
            due = started + n / per_second
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(self.ask(request, due)))
        return await asyncio.gather(*tasks)

    async def without_pause(self, requests: Sequence[bytes], at_once: int) -> float:
        """Closed loop: so many requests at any moment, the next as soon as one is answered.

        Returns:
            Answers a second; errors and refusals are none.
        """
        left, answered = iter(requests), 0
        started = time.perf_counter()

        async def go_on() -> None:
            nonlocal answered
            for request in left:
                reply = await self.ask(request)
                answered += reply.status < 400

        await asyncio.gather(*(go_on() for _ in range(at_once)))
        return answered / (time.perf_counter() - started)

    async def _connected(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        return connection

    def close(self) -> None:
        """End the connections that are idle."""
        for connection in self._idle:
            connection.close()


def with_client(url: str, play: Callable[[Client], Awaitable[T]]) -> T:
    """Run something with a client, on the fastest event loop there is."""

    async def run() -> T:
        client = Client(url)
        try:
            return await play(client)
        finally:
            client.close()

    return uvloop.run(run())
