"""What is known of users and items, what is popular, health; with and without a store."""

from __future__ import annotations

import pytest

from feature_store.keys import profile_key
from schemas.errors import StoreUnavailable
from schemas.events import TYPE_NAMES
from schemas.horizons import HALF_LIVES
from schemas.ids import partition_of
from tests.test_serving_world import PARTITIONS, World, assert_problem, cinema, get

GONE = StoreUnavailable("Redis: ConnectionError: refused")


# --- users and items


async def test_a_users_page() -> None:
    world = cinema()
    world.learn(("ann", "2", "dislike", 1000))
    page = (await get(world, "/v1/users/ann")).json()
    assert page["counts"] == {**dict.fromkeys(TYPE_NAMES, 0), "view": 1, "dislike": 1}
    assert page["history"] == [
        {"item_id": "2", "type": "dislike", "timestamp": "2026-01-01T08:59:59.000Z"},
        {"item_id": "1", "type": "view", "timestamp": "2026-01-01T08:59:00.000Z"},
    ]
    assert page["features"]["affinities"] == {"Horror": pytest.approx(0.25, rel=1e-3)}
    assert page["features"]["profile"] == {}
    assert page["freshness"]["age_ms"] == 1000
    assert page["degraded"] is None


async def test_an_unknown_users_page_is_zero() -> None:
    page = (await get(World(), "/v1/users/nobody")).json()
    assert page["counts"] == dict.fromkeys(TYPE_NAMES, 0)
    assert page["history"] == []


async def test_a_profile_with_odd_numbers_is_shown() -> None:
    world = cinema()
    profile = b'{"user_id":"ann","attributes":{"n":NaN,"big":1%s}}' % (b"0" * 30)
    world.store.blobs[profile_key(partition_of("ann", PARTITIONS), "ann")] = profile
    shown = (await get(world, "/v1/users/ann")).json()["features"]["profile"]
    assert shown["attributes"] == {"n": None, "big": 10**30}


async def test_an_items_page() -> None:
    page = (await get(cinema(), "/v1/items/1")).json()
    assert (page["title"], page["categories"]) == ("Alien", ["Horror"])
    assert page["counts"] == {**dict.fromkeys(TYPE_NAMES, 0), "view": 1, "click": 3}
    assert list(page["popularity"]) == list(HALF_LIVES)
    assert 0.25 < page["popularity"]["1h"] < page["popularity"]["60d"] < 3.25
    assert page["windows"] == {"1h": 1, "24h": 4, "7d": 4}
    assert page["as_of"] == "2026-01-01T08:59:00.000Z"


async def test_items_that_only_the_catalogue_or_only_the_store_knows() -> None:
    world = World()
    world.add_item("1", "Alien")
    world.learn(("u", "2", "click", 5))
    assert (await get(world, "/v1/items/1")).json()["counts"]["click"] == 0
    assert (await get(world, "/v1/items/2")).json()["counts"]["click"] == 1
    assert_problem(await get(world, "/v1/items/3"), 404)


async def test_similar_items() -> None:
    answer = (await get(cinema(), "/v1/items/5/similar", k=2)).json()
    assert answer["degraded"] is None
    assert {item["item_id"] for item in answer["items"]} < {"6", "7", "8"}
    assert answer["items"][0]["reason"] == "similar to Airplane!"
    assert [item["rank"] for item in answer["items"]] == [1, 2]


async def test_an_item_without_company_is_like_what_is_popular_in_its_categories() -> None:
    world = cinema()
    world.add_item("9", "Dracula", categories=["Horror"])
    answer = (await get(world, "/v1/items/9/similar", by="behaviour")).json()
    assert answer["degraded"] == "no_similar_items"
    assert {item["item_id"] for item in answer["items"]} == {"1", "2", "3", "4"}
    assert answer["items"][0]["reason"] == "popular in Horror"
    assert_problem(await get(world, "/v1/items/unknown/similar"), 404)


async def test_ids_may_contain_slashes_and_any_script() -> None:
    world = cinema()
    world.learn(("ärzte/ümlaut", "https://x.y/z?a=1", "click", 5))
    async with world.client() as client:
        page = (await client.get("/v1/users/%C3%A4rzte%2F%C3%BCmlaut")).json()
        assert page["history"][0]["item_id"] == "https://x.y/z?a=1"
        assert (await client.get("/v1/items/https%3A%2F%2Fx.y%2Fz%3Fa=1")).json()["counts"]["click"] == 1


# --- popular


async def test_popular_over_all_time_scales_and_for_one() -> None:
    world = cinema()
    mixed = (await get(world, "/v1/popular", k=3)).json()
    assert [item["item_id"] for item in mixed["items"]][:1] == ["1"]  # the only one that anybody took in the last hour
    assert mixed["as_of"] == "2026-01-01T08:59:00.000Z"
    for params in ({"half_life": "1h"}, {"window": "24h"}, {"category": "Comedy"}, {"category": "Comedy", "window": "7d"}):
        answer = (await get(world, "/v1/popular", **params)).json()
        scores = [item["score"] for item in answer["items"]]
        assert scores == sorted(scores, reverse=True) and scores
    assert (await get(world, "/v1/popular", window="7d")).json()["items"][0]["score"] == 4.0


async def test_popular_in_a_category() -> None:
    answer = (await get(cinema(), "/v1/popular", category="Comedy")).json()
    assert {item["item_id"] for item in answer["items"]} == {"5", "6", "7", "8"}
    assert answer["items"][0]["reason"] == "popular in Comedy"
    assert (await get(cinema(), "/v1/popular", category="Nothing")).json()["items"] == []


@pytest.mark.parametrize(
    ("params", "names"), [({"half_life": "2h"}, "1h, 6h, 24h, 4d, 14d, 60d"), ({"window": "2h"}, "1h, 24h, 7d")]
)
async def test_wrong_time_scales_are_answered_with_the_right_ones(params: dict[str, str], names: str) -> None:
    assert names in assert_problem(await get(World(), "/v1/popular", **params), 422)["detail"]


async def test_a_half_life_and_a_window_exclude_each_other() -> None:
    assert_problem(await get(World(), "/v1/popular", half_life="1h", window="1h"), 422)


# --- without a store


@pytest.mark.parametrize(
    "path",
    ["users/ann", "items/1", "items/unknown", "items/1/similar", "popular", "popular?category=Other", "users/ann/recommendations"],
)
@pytest.mark.parametrize("fault", ["down", "hangs"])
async def test_every_read_answers_without_a_store(path: str, fault: str) -> None:
    world = cinema()
    async with world.client() as client:
        world.store.fault, world.store.hangs = (GONE, False) if fault == "down" else (None, True)
        first = await client.get(f"/v1/{path}")
        await client.get("/v1/users/ann")  # popular items need no store, so asking for them does not notice
        again = await client.get(f"/v1/{path}")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["degraded"] == "store_unavailable"


async def test_counts_are_exact_or_absent() -> None:
    world = cinema()
    world.store.fault = GONE
    assert (await get(world, "/v1/users/ann")).json()["counts"] is None
    assert (await get(world, "/v1/items/1")).json()["counts"] is None


# --- health


async def test_alive_and_ready() -> None:
    world = cinema()
    assert (await get(world, "/healthz")).status_code == 200
    response = await get(world, "/readyz")
    assert (response.status_code, response.json()["ready"]) == (200, True)


async def test_not_ready_without_a_store_or_while_the_catalogue_is_read() -> None:
    world = cinema()
    world.store.fault = GONE
    response = await get(world, "/readyz")
    assert (response.status_code, response.json()["checks"]["store"]) == (503, "does not answer")
    assert (await get(world, "/healthz")).status_code == 200
    world = cinema()
    world.caught_up.clear()
    assert (await get(world, "/readyz")).json()["checks"]["catalogue"] == "being read"


async def test_ready_without_kafka_after_a_while() -> None:
    world = cinema()
    world.caught_up.clear()
    world.log.connected = False
    services = world.services()
    async with world.client(services=services) as client:
        services.settings = services.settings.model_copy(update={"kafka": "127.0.0.1:1"})
        assert (await client.get("/readyz")).status_code == 503
        services.started_at -= 60
        assert (await client.get("/readyz")).status_code == 200


async def test_metrics_count_requests_and_sum_up_the_workers() -> None:
    world = cinema()
    world.store.blobs[b"worker:a"] = b'{"pid":1,"lag":5,"events_total":100,"effect_ms":{"p50":20,"p99":80}}'
    world.store.blobs[b"worker:b"] = b'{"pid":2,"lag":7,"events_total":50,"effect_ms":{"p50":30,"p99":40}}'
    world.store.blobs[b"worker:c"] = b"not json"
    async with world.client() as client:
        await client.get("/v1/users/nobody/recommendations")
        await client.request("BREW", "/coffee")
        text = (await client.get("/metrics")).text
    for line in (
        'freshet_requests_total{method="GET",route="/v1/users/{user_id}/recommendations",status="200"} 1.0',
        'freshet_requests_total{method="other",route="unmatched",status="404"} 1.0',
        'freshet_degraded_total{reason="unknown_user"} 1.0', "freshet_workers 2.0", "freshet_worker_lag 12.0",
        "freshet_worker_events 150.0", 'freshet_worker_effect_ms{quantile="p99"} 80.0', "freshet_catalogue_items 8.0",
        'freshet_store_round_trips_bucket{le="2.0"} 1.0',
    ):  # fmt: skip
        assert line in text
