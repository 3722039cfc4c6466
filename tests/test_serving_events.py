"""Events over HTTP, and what becomes of hostile requests."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import TYPE_NAMES, Limits, parse_event
from serving.edge import MAX_BODY_BYTES
from serving.intake import to_records
from tests.test_serving_world import NOW, World, assert_problem, cinema, get


async def post_events(world: World, body: Any) -> httpx.Response:
    async with world.client() as client:
        return await client.post("/v1/events", content=body if isinstance(body, bytes) else orjson.dumps(body))


# --- events


@pytest.mark.parametrize("kind", TYPE_NAMES)
async def test_every_type_of_event_goes_to_its_topic(kind: str) -> None:
    world = World()
    response = await post_events(world, {"type": kind, "user_id": "42", "item_id": "7", "timestamp": NOW, "event_id": "e"})
    assert (response.status_code, response.json()) == (202, {"accepted": 1, "rejected": []})
    (record,) = world.log.records
    assert record.key == b"42"
    event = parse_event(record.topic, record.value, NOW)
    assert (TYPE_NAMES[event.type], event.user_id, event.item_id, event.timestamp, event.event_id) == (kind, "42", "7", NOW, "e")


async def test_topics_may_be_named_instead() -> None:
    world = World()
    events = [
        {"topic": "views", "user_id": "1", "item_id": "a"},
        {"topic": "clicks", "type": "click", "user_id": "1", "item_id": "a"},
        {"topic": "feedback", "type": "rating", "value": 4.5, "user_id": "1", "item_id": "a"},
        {"topic": "impressions", "request_id": "r", "user_id": "1", "items": [{"item_id": "a", "position": 0}]},
    ]
    assert (await post_events(world, events)).json() == {"accepted": 4, "rejected": []}
    assert [record.topic for record in world.log.records] == ["views", "clicks", "feedback", "impressions"]


async def test_missing_ids_and_times_are_filled_in() -> None:
    world = World()
    await post_events(world, [{"type": "click", "user_id": "1", "item_id": "a"}, {"type": "click", "user_id": "1", "item_id": "a"}])
    first, second = world.log.of_topic("clicks")
    assert first["timestamp"] == NOW
    assert len(first["event_id"]) == 26
    assert first["event_id"] != second["event_id"]


async def test_rejected_events_are_named_and_the_rest_is_taken() -> None:
    world = World()
    good = {"type": "view", "user_id": "1", "item_id": "a"}
    bad: list[Any] = [
        7, {"user_id": "1"}, {**good, "topic": "clicks"}, {"topic": "items", "item_id": "a"},
        {**good, "user_id": 5}, {**good, "item_id": "a\x00b"}, {**good, "timestamp": NOW + 301_000},
        {**good, "timestamp": "yesterday"},
        {**good, "timestamp": 5}, {**good, "context": {"x": "y" * 70_000}}, {"topic": "feedback", "user_id": "1", "item_id": "a"},
        {"type": ["view"], "user_id": "1", "item_id": "a"}, {"type": "impression", "user_id": "1"},
    ]  # fmt: skip
    answer = (await post_events(world, [*bad, good])).json()
    assert answer["accepted"] == 1
    assert [entry["index"] for entry in answer["rejected"]] == list(range(len(bad)))
    assert [entry["reason"] for entry in answer["rejected"]] == [
        "invalid", "unknown_type", "invalid", "unknown_topic", "invalid", "invalid", "timestamp_in_future", "bad_timestamp",
        "timestamp_too_old", "too_large", "invalid", "unknown_type", "invalid",
    ]  # fmt: skip


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries(
        {"user_id": st.just("1") | _JSON, "item_id": st.just("a") | _JSON},
        optional={
            "type": st.sampled_from([*TYPE_NAMES, "impression"]) | _JSON,
            "topic": st.sampled_from(["views", "clicks", "feedback", "impressions"]) | _JSON,
            "timestamp": st.integers(0, 2 * NOW) | _JSON,
            "value": _JSON, "event_id": _JSON, "position": _JSON, "items": _JSON, "request_id": _JSON, "context": _JSON,
        },
    )
)  # fmt: skip
def test_what_is_accepted_is_never_dead_lettered(event: dict[str, Any]) -> None:
    records, rejected = to_records([event], NOW, Limits(), lambda: "id")
    assert len(records) + len(rejected) == 1
    for record in records:
        if record.topic != "impressions":
            assert parse_event(record.topic, record.value, NOW, Limits()).user_id.encode() == record.key


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'"text"', b"7", b"\xff\xfe", b"[" * 100_000, b"[NaN]", orjson.dumps([{}] * 1001)],
    ids=lambda body: str(body[:8]),
)
async def test_bodies_that_are_no_events_are_refused(body: bytes) -> None:
    assert assert_problem(await post_events(World(), body), 422)["errors"][0]["field"] == "body"


async def test_events_that_kafka_does_not_acknowledge_are_not_accepted() -> None:
    world = World()
    world.log.connected = False
    response = await post_events(world, {"type": "view", "user_id": "1", "item_id": "a"})
    assert_problem(response, 503)
    assert int(response.headers["retry-after"]) >= 1


# --- errors


@pytest.mark.parametrize("path", ["users/a%00b", "users/a%0Ab/recommendations", "users/a%0A", "items/" + "x" * 257, "users/"])
async def test_ids_are_checked(path: str) -> None:
    async with World().client() as client:
        assert_problem(await client.get(f"/v1/{path}"), 422)


async def test_wrong_paths_and_methods() -> None:
    async with World().client() as client:
        assert_problem(await client.get("/nothing"), 404)
        response = await client.delete("/v1/popular")
        assert_problem(response, 405)
        assert response.headers["allow"] == "GET"


async def test_a_body_that_is_too_large_is_refused_declared_or_not() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in itertools.repeat(None, 1000):
            yield b" " * 10_000

    async with World().client() as client:
        for path in ("/v1/events", "/v1/recommendations"):
            assert_problem(await client.post(path, content=b" " * (MAX_BODY_BYTES + 1)), 413)
            assert_problem(await client.post(path, content=endless(), headers={"content-type": "application/json"}), 413)


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"[" * 200_000, b"", b"7", b'{"user_id": "\\ud800"}'], ids=lambda body: str(body[:8])
)
async def test_broken_bodies_are_the_clients_fault(body: bytes) -> None:
    async with World().client() as client:
        response = await client.post("/v1/recommendations", content=body, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}
    assert_problem(response, response.status_code)


async def test_an_unexpected_error_is_a_problem_document_too() -> None:
    world = cinema()
    services = world.services()
    services.recommender.recommend = None  # type: ignore[method-assign, assignment]
    async with world.client(services=services) as client:
        assert_problem(await client.get("/v1/users/ann/recommendations"), 500)


async def test_openapi_describes_every_route() -> None:
    paths = (await get(World(), "/openapi.json")).json()["paths"]
    assert {
        "/v1/events",
        "/v1/recommendations",
        "/v1/popular",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/users/{user_id}/recommendations",
    } < paths.keys()
    assert (await get(World(), "/docs")).status_code == 200
