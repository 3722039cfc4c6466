"""uvicorn's server, with new connections taken in as they come.

libuv accepts one connection in each turn of the event loop. A turn lasts as long as all answers that are made in it, so under load
clients that connect anew (and then more of them do) would wait where nobody counts them, longer than any queue of ours allows.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import uvicorn

from serving.draining import DrainingServer

_AT_ONCE: Final = 64  # in a turn; others may listen on the same socket


class EagerServer(DrainingServer):
    """Accepts many connections a turn from the sockets that it is given."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._listening: list[socket.socket] = []
        self._greeting: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        for given in sockets or ():
            own = given.dup()  # an event loop watches a file descriptor once
            own.setblocking(False)
            self._listening.append(own)
            asyncio.get_running_loop().add_reader(own.fileno(), self._accept, own)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        for own in self._listening:
            asyncio.get_running_loop().remove_reader(own.fileno())
            own.close()
        self._listening.clear()
        await super().shutdown(sockets)

    def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except OSError:  # nobody is left, or the client is; where files have run out, libuv knows what to do
                return
            connection.setblocking(False)
            task = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg] # as uvicorn itself calls it
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made
