"""uvicorn's protocol with a bound on the head of a request, which its parser would take in for as long as it comes."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_UNFINISHED_BYTES: Final = 1 << 18  # well above what serving/edge.py answers with a proper 414 or 431


class BoundedHead(HttpToolsProtocol):
    """Ends a connection that sends headers without end. (A finished head is the edge's business.)

    Attributes:
        in_head: whether a request has begun whose head is not whole yet.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._unfinished = 0
        self.in_head = False

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        self._unfinished = self._unfinished + len(data) if self.in_head else 0
        if self._unfinished > MAX_UNFINISHED_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """The parser has seen the first byte of a request."""
        super().on_message_begin()
        self.in_head = True
        self._unfinished = 0

    def on_headers_complete(self) -> None:
        """The parser has seen the whole head."""
        self.in_head = False
        super().on_headers_complete()
