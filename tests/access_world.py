"""For the tests of access: keys, an app that asks for them, and requests as no client library would send them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.types import Message, Scope

from schemas.settings import Settings
from serving.app import create_app
from tests.test_serving_world import PARTITIONS, World, cinema

WRITER, READER, ADMIN = "writer-0123456789", "reader-0123456789", "admin-0123456789-="
KEYS = f"{WRITER}=events:write; {READER}=recommend:read; {ADMIN}=admin"
Headers = Sequence[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """What came back, and the scope after it: which route it was for."""

    status: int
    headers: dict[str, str]
    body: bytes
    scope: Scope

    def json(self) -> Any:
        return orjson.loads(self.body)


def settings_with(**given: Any) -> Settings:
    return Settings(partitions=PARTITIONS, store_timeout_ms=50, **given)


def with_keys(**given: Any) -> Settings:
    return settings_with(api_keys=SecretStr(KEYS), **given)


def app_of(settings: Settings, world: World | None = None) -> FastAPI:
    world = world or cinema()
    return create_app(settings, world.services(settings))


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + key.encode())]


def scope_of(method: str, target: str, headers: Headers = (), address: str = "192.0.2.7") -> Scope:
    """As uvicorn makes it of a request line: the path is decoded once, and nothing in it is resolved."""
    path, _, query = target.partition("?")
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
        "method": method, "path": unquote(path), "raw_path": path.encode("ascii", "replace"), "query_string": query.encode(),
        "root_path": "", "headers": list(headers), "server": ("api", 80), "client": (address, 5000), "state": {},
    }  # fmt: skip


async def ask(app: FastAPI, method: str, target: str, headers: Headers = (), body: bytes = b"", **more: Any) -> Answer:
    """One request, straight to the app. What the app raises behind its 500 is not raised here."""
    scope = scope_of(method, target, headers, **more)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception:
        assert sent[0]["status"] == 500, sent
    told = {name.decode().lower(): value.decode("latin-1") for name, value in sent[0].get("headers", ())}
    assert len(told) == len(sent[0].get("headers", ())), "no header is there twice"
    return Answer(sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:]), scope)
