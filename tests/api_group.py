"""An API of several processes for tests: the command, its processes, and connections to each of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import orjson
import psutil

from tests.live import wait_until

PROCESSES = 2
NOBODY = {"FRESHET_KAFKA": "127.0.0.1:1", "FRESHET_REDIS": "redis://127.0.0.1:1"}


class Api:
    """A group of processes, and connections to each of them."""

    def __init__(self, parent: subprocess.Popen[bytes], port: int) -> None:
        self.parent = parent
        self.port = port

    def children(self, name: str = "freshet-api-") -> list[psutil.Process]:
        return [child for child in psutil.Process(self.parent.pid).children() if child.name().startswith(name)]

    def connect(self) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.connect()
        return connection

    def get(self, path: str) -> HTTPResponse:
        connection = self.connect()
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse()

    def text(self, path: str) -> str:
        return self.get(path).read().decode()

    def answers(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def one_to_each(self) -> dict[int, HTTPConnection]:
        """A kept connection to each process, by its pid."""
        found: dict[int, HTTPConnection] = {}
        for _ in range(300):
            connection = self.connect()
            assert ask(connection, "/healthz") == {"status": "alive"}
            mine = connection.sock.getsockname()
            owner = next(c.pid for c in self.children() if any(s.raddr == mine for s in c.net_connections()))
            found.setdefault(owner, connection)
            if len(found) == PROCESSES:
                return found
        raise AssertionError(f"only {found.keys()} take connections")


def ask(connection: HTTPConnection, path: str) -> Any:
    connection.request("GET", path)
    return orjson.loads(connection.getresponse().read())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(folder: Path, port: int = 0, **settings: Any) -> Iterator[Api]:
    """The command, when it answers."""
    port = port or free_port()
    given = {"home": folder, "api_port": port, "api_processes": PROCESSES, **settings}
    environment = os.environ | NOBODY | {f"FRESHET_{name.upper()}": str(value) for name, value in given.items()}
    with (folder / "api.log").open("wb") as log:
        parent = subprocess.Popen([sys.executable, "-m", "ops.cli", "api"], env=environment, stdout=log, stderr=log)
    api = Api(parent, port)
    try:
        wait_until(lambda: parent.poll() is not None or api.answers(), 60, "the API to answer")
        assert parent.poll() is None, (folder / "api.log").read_text()
        yield api
    finally:
        children = psutil.Process(parent.pid).children() if parent.poll() is None else []
        parent.kill()
        parent.wait()
        for child in children:
            child.kill()
