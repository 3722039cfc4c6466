"""A source of a product team that is asked by HTTP: POST of the question as JSON, the answer a JSON list of bounded size."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import aiohttp
import orjson

from schemas.errors import SourceFailed
from serving.candidates.answer import Question

MAX_BYTES: Final = 256 * 1024
AT_ONCE: Final = 32
"""Questions under way at one source; a source that falls behind is not given more to do."""
_IDLE_SECONDS: Final = 4.0  # less than most servers keep an idle connection: the side that closes must be the one that asks


class HttpSource:
    """Asks one address. No redirects are followed, no proxies of the environment used, no cookies kept, nothing compressed taken.

    Args:
        url: as checked by `surface_sources.OwnSource`. token: sent as `Authorization: Bearer`; None: none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._session: aiohttp.ClientSession | None = None
        self._under_way = 0

    async def fetch(self, question: Question) -> object:
        """The answer as parsed JSON.

        Raises:
            SourceFailed: busy, unreachable, status, too_large or garbage.
        """
        if self._under_way >= AT_ONCE:
            raise SourceFailed("busy", f"{AT_ONCE} questions are under way")
        self._under_way += 1
        try:
            return _parsed(await self._body(orjson.dumps(question)))
        except (aiohttp.ClientError, OSError) as error:
            raise SourceFailed("unreachable", f"{type(error).__name__}: {error}") from error
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Close its connections; a question that comes later opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _body(self, question: bytes) -> bytes:
        async with self._opened().post(self._url, data=question, headers=self._headers, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise SourceFailed("status", f"HTTP {response.status}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise SourceFailed("garbage", "the answer is compressed")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise SourceFailed("too_large", f"more than {MAX_BYTES} bytes")
            return bytes(body)

    def _opened(self) -> aiohttp.ClientSession:
        """The connections of the event loop that asks."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=_IDLE_SECONDS),
                # Whoever asks has a time budget for the whole.
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                # What it sets for one person must not come with another's question.
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SourceFailed("garbage", f"not JSON: {error}") from error
