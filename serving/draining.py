"""A stop that no request notices, where the client keeps to HTTP.

uvicorn alone resets the connections that the kernel has taken in and nobody has accepted yet, and closes those that are idle
although the next request may be on its way. Here the first are accepted before the socket is closed, and the others have a moment
for one more request, whose answer says that the connection ends (`Connection: close`, RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any, Final

import uvicorn

from serving.access.protocol import BoundedHead

_MOMENT_SECONDS: Final = 1.0


class DrainingProtocol(BoundedHead):
    """A connection that takes one more request after it was told to end, if that comes soon."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._draining = False

    def shutdown(self) -> None:
        """The server's word to end."""
        self._draining = True
        if self._idle:
            self.loop.call_later(_MOMENT_SECONDS, self._end_if_idle)
        else:
            super().shutdown()

    def on_headers_complete(self) -> None:
        """The parser has seen the whole head."""
        super().on_headers_complete()
        if self._draining and self.cycle is not None:
            self.cycle.keep_alive = False

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _end_if_idle(self) -> None:
        if self._idle and not self.in_head and not self.transport.is_closing():
            self.transport.close()


class DrainingServer(uvicorn.Server):
    """A server that accepts what the kernel holds for it before it closes its sockets."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        listening = [sock.dup() for sock in sockets or ()]
        for server in self.servers:
            server.close()
        waiting = [connection for sock in listening for connection in _last_of(sock)]
        protocol = partial(
            DrainingProtocol, config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=None
        )
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        await super().shutdown(sockets)


def _last_of(listening: socket.socket) -> list[socket.socket]:
    """Accept whoever waits, and close the socket in the same breath."""
    found = []
    with listening:
        listening.setblocking(False)
        while True:
            try:
                found.append(listening.accept()[0])
            except OSError:  # nobody waits any more
                return found
