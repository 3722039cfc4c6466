"""Ports of a stack: free when first chosen, then kept in a file so that a restart has the same addresses."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from ops.stack.files import read_json, write_json
from schemas.errors import StackError

HOST = "127.0.0.1"
# Below the range from which Linux and macOS take the ports of outgoing connections: a port from that range can be
# taken while its server is down, even by a client that retries it (a TCP connection to itself).
LOWEST, HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(taken: frozenset[int] = frozenset()) -> int:
    """A free port, random so that stacks started at the same moment rarely meet.

    Raises:
        StackError: a thousand random ports were all in use.
    """
    for _ in range(1000):
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        if port not in taken and is_free(port):
            return port
    raise StackError(f"no free port between {LOWEST} and {HIGHEST} on {HOST}")


class Ports:
    """The ports of one stack by name (`kafka`, `controller`, `redis`, `api`, `worker-1`, ...), kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str, preferred: int = 0) -> int:
        """The port of that name; when it has none yet, `preferred` if that is free, else any free one."""
        known = self._known()
        if name not in known:
            known[name] = preferred if preferred and is_free(preferred) else free_port(frozenset(known.values()))
            write_json(self._path, known)
        return known[name]

    def settle(self, *names: str) -> None:
        """Replace those of the named ports that somebody else holds now. Only for servers that are not running."""
        known = self._known()
        for name in names:
            if name in known and not is_free(known[name]):
                known[name] = free_port(frozenset(known.values()))
        write_json(self._path, known)

    def _known(self) -> dict[str, int]:
        return {str(name): int(port) for name, port in (read_json(self._path) or {}).items()}
