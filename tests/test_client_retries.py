"""Errors of the Python client: which are final, which are tried again, after how long."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import orjson
import pytest

import freshet_client
from freshet_client import (
    AsyncClient,
    Client,
    FreshetError,
    InvalidAnswer,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Retry,
    ServerError,
    TooManyRequests,
    Unreachable,
)
from freshet_client.errors import Problem
from freshet_client.retries import parse_retry_after
from tests.client_world import Reply, scripted
from tests.test_serving_world import NOW

AT_ONCE = Retry(base=0.0)
PROBLEM = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "nothing is known of item 'x'"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFound), (422, InvalidRequest), (413, InvalidRequest), (401, NotAllowed), (403, NotAllowed), (500, ServerError)],
)
def test_final_errors_carry_the_problem_and_are_not_tried_again(status: int, kind: type[freshet_client.ApiError]) -> None:
    document = PROBLEM | {"status": status, "errors": [{"field": "k", "message": "too large"}]}
    with scripted(Reply(status, orjson.dumps(document))) as server, Client(server.url, retry=AT_ONCE) as client:
        with pytest.raises(kind) as raised:
            client.item("x")
        assert len(server.requests) == 1
    assert (raised.value.status, raised.value.problem.detail) == (status, PROBLEM["detail"])
    assert [(fault.field, fault.message) for fault in raised.value.errors] == [("k", "too large")]


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b'{"errors": 7, "title": null}', b"\xff"])
def test_errors_of_a_proxy_are_errors_too(body: bytes) -> None:
    with scripted(*[Reply(502, body)] * 2) as server, Client(server.url, retry=Retry(attempts=2, base=0.0)) as client:
        with pytest.raises(ServerError, match="502 Bad Gateway"):
            client.ready()
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "reply", [Reply(429, b"{}"), Reply(503, b"{}"), Reply(504, b"x"), Reply(hang_up=True), Reply(seconds=1.5)], ids=repr
)
def test_passing_faults_are_tried_again(reply: Reply) -> None:
    page = orjson.dumps({"item_id": "x"})
    with (
        scripted(reply, reply, Reply(200, page)) as server,
        Client(server.url, timeout=1.0, retry=Retry(base=0.01)) as client,
    ):
        assert client.item("x").item_id == "x"
        assert len(server.requests) == 3


async def test_the_async_client_tries_again_too() -> None:
    page = orjson.dumps({"item_id": "x"})
    with scripted(Reply(503, b"{}"), Reply(200, page)) as server:
        async with AsyncClient(server.url, retry=AT_ONCE) as client:
            assert (await client.item("x")).item_id == "x"
        assert len(server.requests) == 2


def test_an_event_that_arrived_without_an_answer_keeps_its_id() -> None:
    with scripted(Reply(hang_up=True)) as server, Client(server.url, retry=AT_ONCE) as client:
        assert client.events.click("1", "a").accepted == 1
        first, second = server.batches
        assert first == second
        assert list(server.arrived.values()) == [2], "twice at the server, which counts the id once"


def test_retry_after_is_heeded_and_a_long_one_is_final() -> None:
    page = orjson.dumps({"item_id": "x"})
    with scripted(Reply(429, b"{}", {"retry-after": "1"}), Reply(200, page)) as server, Client(server.url, retry=AT_ONCE) as client:
        client.item("x")
        assert server.times[1] - server.times[0] >= 1.0
    with scripted(Reply(429, b"{}", {"retry-after": "31"})) as server, Client(server.url, retry=AT_ONCE) as client:
        with pytest.raises(TooManyRequests) as raised:
            client.item("x")
        assert (raised.value.retry_after, len(server.requests)) == (31.0, 1)


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"item_id": 7}', b"\xff\xfe", b""])
def test_a_garbage_answer_is_an_error_of_its_own(body: bytes) -> None:
    with scripted(Reply(200, body)) as server, Client(server.url) as client, pytest.raises(InvalidAnswer):
        client.item("x")


def test_a_server_that_is_not_there_and_a_url_that_is_none() -> None:
    with Client("http://127.0.0.1:1", retry=Retry(attempts=2, base=0.0)) as client, pytest.raises(Unreachable, match="Connect"):
        client.ready()
    for url in ("localhost:8000", "", "http://[::1"):
        with Client(url) as client, pytest.raises(FreshetError):
            client.ready()


def test_not_ready_is_an_answer() -> None:
    body = orjson.dumps({"ready": False, "checks": {"store": "does not answer"}})
    with scripted(Reply(503, body)) as server, Client(server.url) as client:
        assert client.ready().checks == {"store": "does not answer"}


def test_pauses_are_drawn_from_the_whole_interval_up_to_the_bound() -> None:
    retry, rng = Retry(attempts=9, base=0.2, cap=1.0), random.Random(1)
    error = Unreachable("x")
    for failures, bound in ((1, 0.2), (2, 0.4), (3, 0.8), (4, 1.0), (8, 1.0)):
        drawn = [retry.pause(failures, error, rng) for _ in range(500)]
        assert all(pause is not None and 0 <= pause <= bound for pause in drawn)
        assert min(pause or 0 for pause in drawn) < 0.05 * bound
        assert max(pause or 0 for pause in drawn) > 0.95 * bound
    assert retry.pause(9, error, rng) is None
    assert retry.pause(1, InvalidAnswer("x"), rng) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0.0), ("7", 7.0), ("Thu, 01 Jan 2026 09:00:30 GMT", 30.0), ("Thu, 01 Jan 2026 08:00:00 GMT", 0.0), ("soon", None),
     ("", None), (None, None), ("-1", None), ("1e400", None)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, datetime.fromtimestamp(NOW / 1000, UTC)) == seconds


def test_a_problem_of_any_form() -> None:
    assert Problem.of(799, None).title == "Unknown Status"
    assert Problem.of(404, PROBLEM).raw["detail"] == PROBLEM["detail"]
