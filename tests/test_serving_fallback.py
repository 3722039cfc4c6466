"""What is answered when something is missing: events, a catalogue, the store."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from feature_store.keys import LAYOUT, item_key, trending_key, user_key
from schemas.errors import StoreUnavailable
from schemas.ids import partition_of
from serving.background import Background
from serving.content_source import ContentSource
from serving.query import RecommendationQuery
from tests.test_serving_world import SETTINGS, World, cinema, ids, recommend

GONE = StoreUnavailable("Redis: ConnectionError: refused")


# --- the fallback chain


async def test_an_unknown_user_gets_what_is_popular() -> None:
    answer = await recommend(cinema(), "nobody", k=4)
    assert answer["degraded"] == "unknown_user"
    assert len(answer["items"]) == 4
    assert answer["freshness"] == {"newest_event_at": None, "age_ms": None, "event_to_effect_ms": None}


async def test_a_first_click_on_an_item_nobody_took_says_so() -> None:
    world = cinema()
    world.add_item("77", "New")
    world.learn(("new", "77", "click", 10))
    answer = await recommend(world, "new")
    assert answer["degraded"] == "no_similar_items"
    assert len(answer["items"]) == 8


async def test_without_events_the_catalogue_is_shown() -> None:
    world = World()
    for n in range(5):
        world.add_item(str(n), f"Title {n}", available=n != 3)
    answer = await recommend(world, k=3)
    assert answer["degraded"] == "no_events"
    assert ids(answer) == ["4", "2", "1"]
    assert answer["items"][0]["sources"] == {"catalogue": answer["items"][0]["score"]}
    assert answer["items"][0]["reason"] == "from the catalogue"


async def test_with_nothing_at_all_the_answer_is_empty_and_valid() -> None:
    answer = await recommend(World())
    assert answer["items"] == []
    assert answer["degraded"] == "no_events"


async def test_a_catalogue_that_was_never_reached_is_said() -> None:
    world = World()
    world.caught_up.clear()
    world.learn(
        *[(f"u{u}", item, "click", 1000 - at) for u in range(3) for at, item in enumerate("abc")], ("ann", "a", "click", 10)
    )
    answer = await recommend(world)
    assert answer["degraded"] == "catalogue_unavailable"
    assert set(ids(answer)) == {"b", "c"}


async def test_a_short_list_is_filled_from_the_catalogue_behind_everything_else() -> None:
    world = cinema()
    for n in range(100, 105):
        world.add_item(str(n))
    answer = await recommend(world, k=12)
    assert len(answer["items"]) == 12
    assert [list(item["sources"]) == ["catalogue"] for item in answer["items"]] == [False] * 7 + [True] * 5
    assert answer["degraded"] is None


# --- the store fails


async def test_a_store_that_is_down_from_the_start() -> None:
    world = World()
    world.add_item("1", "Alien")
    world.store.fault = GONE
    answer = await recommend(world)
    assert answer["degraded"] == "store_unavailable"
    assert ids(answer) == ["1"]


async def test_a_store_that_goes_away_leaves_what_was_popular() -> None:
    world = cinema()
    async with world.client() as client:
        assert (await client.get("/v1/users/ann/recommendations")).json()["degraded"] is None
        world.store.fault = GONE
        answer = (await client.get("/v1/users/ann/recommendations")).json()
    assert answer["degraded"] == "store_unavailable"
    assert {item["reason"] for item in answer["items"]} == {"popular now"}
    assert len(answer["items"]) == 8


async def test_a_store_that_hangs_costs_one_request_its_time_limit_and_the_others_nothing() -> None:
    world = cinema()
    services = world.services()
    await services.background.refresh()
    world.store.hangs = True
    query = RecommendationQuery(user_id="ann")
    assert (await services.recommender.recommend(query)).degraded == "store_unavailable"
    asked, started = world.store.round_trips, time.monotonic()
    for _ in range(20):
        assert (await services.recommender.recommend(query)).degraded == "store_unavailable"
    assert world.store.round_trips == asked
    assert time.monotonic() - started < SETTINGS.store_timeout_ms / 1000 * 5


async def test_a_store_that_comes_back_is_used_again() -> None:
    world = cinema()
    services = world.services()
    world.store.fault = GONE
    await services.background.refresh()
    assert not services.store.answers
    world.store.fault = None
    assert (await services.recommender.recommend(RecommendationQuery(user_id="ann"))).degraded == "store_unavailable"
    await services.background.refresh()
    assert (await services.recommender.recommend(RecommendationQuery(user_id="ann"))).degraded is None


async def test_a_store_that_fails_between_the_two_reads() -> None:
    world = cinema()
    services = world.services()
    await services.background.refresh()
    read = services.store.read

    async def failing_second(keys: Any) -> Any:
        if keys[0].startswith(b"i:"):
            raise GONE
        return await read(keys)

    services.store.read = failing_second  # type: ignore[method-assign]
    decision = await services.recommender.recommend(RecommendationQuery(user_id="ann", k=3))
    assert decision.degraded == "store_unavailable"
    assert [item for item, _ in decision.chosen if item in "234"]  # still led by the user's categories
    assert decision.state is not None


async def test_damaged_blobs_are_as_good_as_none() -> None:
    world = cinema()
    world.store.blobs[user_key(partition_of("ann", 2), "ann")] = b"\x01garbage"
    assert (await recommend(world))["degraded"] == "unknown_user"
    world = cinema()
    world.store.blobs[item_key(partition_of("1", 2), "1")] = b"\x01garbage"
    world.store.blobs[trending_key(0)] = b"\x01garbage"
    assert ids(await recommend(world, k=3))


async def test_the_stored_partition_count_wins() -> None:
    world = cinema()
    world.store.blobs[LAYOUT] = b'{"partitions": 2, "format": 1}'
    settings = SETTINGS.model_copy(update={"partitions": 16})
    async with world.client(settings) as client:
        assert (await client.get("/v1/users/ann/recommendations")).json()["degraded"] is None
    world.store.blobs[LAYOUT] = b"not json"
    assert (await recommend(world))["degraded"] is None


async def test_the_background_follows_the_store() -> None:
    world = World()
    services = world.services()
    background = Background(
        services.lists, services.shelf, services.models, ContentSource(world.catalogue), services.blend.published
    )
    await background.start()
    try:
        world.learn(("u", "a", "click", 5))
        for _ in range(40):
            await asyncio.sleep(0.05)
            if services.lists.overall().best:
                break
        assert list(services.lists.overall().best) == ["a"]
    finally:
        await background.stop()
