"""A source of a product team that is asked by HTTP: POST of the question as JSON, the answer a JSON list of bounded size."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import httpx
import orjson

from schemas.errors import SourceFailed
from serving.candidates.answer import Question

MAX_BYTES: Final = 256 * 1024
AT_ONCE: Final = 32
"""Questions under way at one source; a source that falls behind is not given more to do."""
_IDLE_SECONDS: Final = 30.0


class HttpSource:
    """Asks one address. No redirects are followed, no proxies of the environment used, nothing compressed is taken.

    Args:
        url: as checked by `surface_sources.OwnSource`. token: sent as `Authorization: Bearer`; None: none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE, keepalive_expiry=_IDLE_SECONDS)
        # Whoever asks has a time budget for the whole; httpx would begin a new one for each byte.
        self._client = httpx.AsyncClient(limits=limits, timeout=None, follow_redirects=False, trust_env=False)  # noqa: S113
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
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise SourceFailed("unreachable", f"{type(error).__name__}: {error}") from error
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _body(self, question: bytes) -> bytes:
        async with self._client.stream("POST", self._url, content=question, headers=self._headers) as response:
            if response.status_code != HTTPStatus.OK:
                raise SourceFailed("status", f"HTTP {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise SourceFailed("garbage", "the answer is compressed")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise SourceFailed("too_large", f"more than {MAX_BYTES} bytes")
            return bytes(body)


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SourceFailed("garbage", f"not JSON: {error}") from error
