"""A server for the clients' tests that answers as it is told: late, wrongly, not at all. Sockets and threads are real."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """One answer. `hang_up`: none; the connection is closed. `taken`: the events count although the answer says something else."""

    status: int = 202
    body: bytes | None = None  # None: as the API answers events
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    hang_up: bool = False
    taken: bool = True
    reject: tuple[str, ...] = ()  # ids of events


class ScriptedServer:
    """Answers with the replies of `script`, then as an API that takes everything. `arrived`: event_id to how often it was taken."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.times: list[float] = []
        self.arrived: dict[str, int] = {}
        self._lock = threading.Lock()
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                world.answer(self)

            do_GET = do_DELETE = do_POST  # noqa: N815 - http.server's names

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def batches(self) -> list[list[dict[str, Any]]]:
        return [json.loads(body) for _, path, _, body in self.requests if path == "/v1/events"]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        with self._lock:
            self.times.append(time.monotonic())
            self.requests.append((handler.command, handler.path, dict(handler.headers), body))
            reply = self.script.pop(0) if self.script else Reply()
        time.sleep(reply.seconds)
        content = self._taken(body, reply) if handler.path == "/v1/events" and reply.taken else b"{}"
        if reply.hang_up:
            handler.close_connection = True
            return
        content = content if reply.body is None else reply.body
        handler.send_response(reply.status)
        for name, value in {"content-type": "application/json", "content-length": str(len(content)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _taken(self, body: bytes, reply: Reply) -> bytes:
        if reply.status not in {200, 202}:
            return b"{}"
        rejected = []
        events = json.loads(body)
        with self._lock:
            for index, event in enumerate(events):
                if event["event_id"] in reply.reject:
                    rejected.append({"index": index, "reason": "invalid", "detail": "as the test says"})
                else:
                    self.arrived[event["event_id"]] = self.arrived.get(event["event_id"], 0) + 1
        return json.dumps({"accepted": len(events) - len(rejected), "rejected": rejected}).encode()


@contextmanager
def scripted(*replies: Reply) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.script += replies
        yield server
