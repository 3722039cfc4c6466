"""Keys and limits at real API processes, and what no client library would send."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest

from tests.access_world import ADMIN, KEYS, READER, WRITER
from tests.live import Live, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
BURST = 40


class Apis(NamedTuple):
    """Two processes of one API."""

    one: str
    two: str


@pytest.fixture(scope="module")
def apis(live: Live) -> Iterator[Apis]:
    given = {"api_keys": KEYS, "rate_limit": 0.01, "rate_burst": BURST, "store_timeout_ms": 1000}
    yield Apis(live.api(**given), live.api(**given))


def get(url: str, path: str, key: str | None = None) -> httpx.Response:
    return httpx.get(url + path, headers={"Authorization": f"Bearer {key}"} if key else {}, trust_env=False)


def raw(url: str, request: bytes, seconds: float = 10.0) -> bytes:
    """What a server answers to exactly these bytes; it may hang up while they are still coming."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), seconds) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while b"\r\n\r\n" not in answer and (more := connection.recv(65536)):
                answer += more
        return answer


def test_ready_without_a_key_and_nothing_else(apis: Apis) -> None:
    assert [get(apis.one, path).status_code for path in ("/readyz", "/healthz", "/v1/popular", "/metrics")] == [200, 200, 401, 401]
    assert get(apis.one, "/v1/users/ann", READER).status_code == 403
    assert get(apis.one, "/v1/users/ann", ADMIN).status_code == 200


def test_two_processes_share_one_bucket(apis: Apis) -> None:
    """A key of its own for this test: the writer's, who may do none of this and pays all the same."""
    urls = [apis.one, apis.two] * BURST
    statuses = [get(url, "/v1/popular", WRITER).status_code for url in urls]
    assert statuses == [403] * BURST + [429] * BURST
    refused = get(apis.two, "/v1/popular", WRITER)
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert refused.headers["ratelimit-remaining"] == "0"
    lines = get(apis.one, "/metrics", ADMIN).text.splitlines()
    assert f'freshet_refused_total{{reason="too_often"}} {BURST / 2}' in lines
    assert "freshet_limited_alone_total 0.0" in lines


@pytest.mark.parametrize(
    ("request_line", "headers"),
    [
        ("GET /v1/users/ann HTTP/1.1", f"Authorization: Bearer {READER}\r\nAuthorization: Bearer {ADMIN}".encode()),
        ("GET /v1/users/ann HTTP/1.1", b"Authorization: Bearer wrong,\r\n Bearer " + ADMIN.encode()),
        ("GET /v1/users/ann HTTP/1.1", b"Authorization : Bearer " + ADMIN.encode()),
        ("GET /v1/users/ann HTTP/1.1", b"Authorization: Bearer " + ADMIN.encode() + b"\x00"),
        ("GET /v1/users/ann HTTP/1.1", b"X: \xff\xfe\r\nAuthorization: Basic \xff\xfe"),
        ("GET /v1/users/ann HTTP/1.1", b"Authorization: Bearer " + b"k" * 100_000),
        ("GET /healthz/../v1/users/ann HTTP/1.1", b"X: y"),
        ("GET /healthz?/../v1/users/ann HTTP/9.9", b"X: y"),
        ("GET http://other/v1/users/ann HTTP/1.1", b"X: y"),
        ("GET /v1/users/ann#/healthz HTTP/1.1", b"X: y"),
        ("GET /%68ealthz%2f..%2fv1/users/ann HTTP/1.1", b"X: y"),
        ("OPTIONS * HTTP/1.1", b"X: y"),
        ("CONNECT /v1/users/ann HTTP/1.1", b"X: y"),
        ("HEAD /v1/users/ann HTTP/1.1", b"X: y"),
        ("GET /v1/users/ann HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"),
        ("GET /v1/popular HTTP/1.1", b"\r\n".join(b"X-%d: y" % n for n in range(5000))),
        ("GET /v1/popular?" + "x" * 100_000 + " HTTP/1.1", b"X: y"),
    ],
)  # fmt: skip
def test_odd_requests_are_refused_with_4xx(apis: Apis, request_line: str, headers: bytes) -> None:
    answer = raw(apis.one, request_line.encode() + b"\r\nHost: api\r\n" + headers + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:200]
    assert b"history" not in answer
    assert get(apis.one, "/healthz").status_code == 200


def test_a_head_without_end_is_cut_off(apis: Apis) -> None:
    for piece in (b"X: " + b"y" * (1 << 24), b"".join(b"X-%d: y\r\n" % n for n in range(1 << 20))):
        assert raw(apis.one, b"GET /v1/popular HTTP/1.1\r\n" + piece)[:12] in {b"HTTP/1.1 400", b""}
        assert get(apis.one, "/healthz").status_code == 200
    answer = raw(apis.one, b"GET /healthz HTTP/1.1\r\nHost: api\r\nCookie: " + b"y" * 30_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200"), "what is long but allowed still comes through"


def test_many_requests_on_one_connection_are_not_cut_off(apis: Apis) -> None:
    with httpx.Client(base_url=apis.one, headers={"X-Padding": "p" * 20_000}, trust_env=False) as client:
        assert {client.get("/healthz").status_code for _ in range(40)} == {200}
        posts = [client.post("/v1/events", content=b" " * 200_000) for _ in range(5)]
    assert {answer.status_code for answer in posts} == {401}


def test_nothing_that_is_logged_holds_a_key_or_a_user(apis: Apis, live: Live) -> None:
    for key in (READER, ADMIN, "some-unknown-key-0123456789"):
        get(apis.one, "/v1/users/a-person-of-note/recommendations", key)
    logs = "".join(path.read_text(errors="replace") for path in live.folder.glob("api-*.log"))
    assert "asks for a key, 3 known" in logs
    assert "the API is open" not in logs
    for secret in (READER, WRITER, ADMIN, "some-unknown-key", "a-person-of-note"):
        assert secret not in logs


def test_without_redis_each_process_goes_on_counting(apis: Apis, live: Live) -> None:
    live.servers.stop_redis()
    try:
        started = time.monotonic()
        statuses = [get(apis.one, "/v1/popular", READER).status_code for _ in range(BURST + 5)]
        assert set(statuses[:BURST]) == {200}
        assert statuses[-1] == 429
        assert time.monotonic() - started < 15
        text = get(apis.one, "/metrics", ADMIN).text
        (alone,) = (line for line in text.splitlines() if line.startswith("freshet_limited_alone_total "))
        assert float(alone.split()[1]) >= BURST
    finally:
        live.servers.start_redis()

    def shared_again() -> bool:
        return get(apis.one, "/v1/popular", READER).headers.get("ratelimit-remaining") not in {None, "0"}

    wait_until(shared_again, 30, "the buckets in Redis, which is empty or fuller than this process's own")


def test_an_open_api_says_so(live: Live) -> None:
    url = live.api(api_keys="")
    assert get(url, "/v1/users/ann").status_code == 200
    logs = sorted(live.folder.glob("api-*.log"), key=os.path.getmtime)[-1].read_text()
    assert "the API is open: it asks for no keys" in logs
