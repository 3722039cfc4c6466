"""What nobody has taken yet is found from the moment the catalogue has it; and what is popular where somebody is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest

from feature_store.catalogue import Catalogue
from serving.content_source import ContentSource, Likeness
from serving.ranking.newcomers import with_newcomers
from serving.services import Services
from tests.learned_world import COMEDY, HORROR, Learner, following, learned
from tests.test_serving_world import NOW, World, assert_problem, cinema, get, ids, recommend_from


async def ask(world: World, services: Services, **body: Any) -> dict[str, Any]:
    async with world.client(services=services) as client:
        response: httpx.Response = await client.post("/v1/recommendations", json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def within_a_second(holds: Callable[[], Awaitable[bool]]) -> bool:
    for _ in range(20):
        if await holds():
            return True
        await asyncio.sleep(0.05)
    return False


# --- similar items


async def test_an_item_is_similar_from_its_catalogue_event_until_it_is_deleted() -> None:
    world = cinema()

    async with world.client() as client:

        async def listed(by: str) -> list[str]:
            return ids((await client.get("/v1/items/1/similar", params={"by": by, "k": 50})).json())

        async def is_there() -> bool:
            return "9" in await listed("content") and "9" in await listed("both")

        async def is_gone() -> bool:
            return not await is_there() and "9" not in await listed("content")

        assert await is_gone()
        world.add_item("9", "Alien: Romulus", categories=["Horror"])
        assert await within_a_second(is_there)
        assert (await listed("content"))[0] == "9", "it shares a word too"
        assert "9" not in await listed("behaviour")
        own = (await client.get("/v1/items/9/similar", params={"by": "content"})).json()
        assert own["items"][0]["item_id"] == "1"
        assert own["items"][0]["reason"] == "shares alien, Horror with Alien: Romulus"
        assert own["items"][0]["sources"] == {"content": own["items"][0]["score"]}
        world.catalogue.apply(b"9", None)
        assert await within_a_second(is_gone)
        assert_problem(await client.get("/v1/items/9/similar", params={"by": "content"}), 404)


async def test_both_is_led_by_behaviour_and_says_who_proposed_what() -> None:
    world = cinema()
    world.add_item("9", "Dracula", categories=["Horror"])
    answer = (await get(world, "/v1/items/1/similar", k=10)).json()
    assert answer["degraded"] is None
    assert set(ids(answer)[:3]) == {"2", "3", "4"} and ids(answer)[3] == "9"
    first, last = answer["items"][0], answer["items"][3]
    assert first["sources"].keys() == {"covisitation", "content"} and first["reason"] == "similar to Alien"
    assert sum(first["sources"].values()) == pytest.approx(first["score"])
    assert last["sources"].keys() == {"content"} and last["reason"] == "shares Horror with Alien"


async def test_tags_are_content_too_and_unavailable_items_are_not_shown() -> None:
    world = cinema()
    world.add_item("9", None, tags=["space opera"])
    world.add_item("10", None, tags=["Space Opera"])
    world.add_item("11", None, tags=["space opera"], available=False)
    answer = (await get(world, "/v1/items/9/similar", by="content")).json()
    assert ids(answer) == ["10"]
    assert answer["items"][0]["reason"] == "shares space opera with 9"


async def test_content_of_an_item_that_only_the_store_knows_is_nothing() -> None:
    world = cinema()
    world.learn(("u", "nameless", "click", 5))
    answer = (await get(world, "/v1/items/nameless/similar", by="content")).json()
    assert (answer["items"], answer["degraded"]) == ([], "no_similar_items")
    assert_problem(await get(world, "/v1/items/unknown/similar", by="content"), 404)
    assert_problem(await get(world, "/v1/items/1/similar", by="taste"), 422)


# --- recommendations


async def test_a_new_item_has_the_sixth_place_until_somebody_takes_it() -> None:
    world, learner = learned()
    services = await following(world)
    before = ids(await ask(world, services, user_id="ann", k=10))
    world.add_item("new", "The Newcomer", categories=["Horror"])
    world.add_item("new too", "The Latecomer", categories=["Horror"])
    answer = await ask(world, services, user_id="ann", k=10)
    newcomer = answer["items"][5]
    assert newcomer["item_id"] == "new too"
    assert newcomer["sources"].keys() == {"content"}
    assert newcomer["reason"] == "shares Horror with Film h7"
    assert ids(answer)[:5] + ids(answer)[6:] == before[:9], "one place of ten, and nothing else moves"
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["models"]["blend"].startswith("blend@")
    twenty = ids(await ask(world, services, user_id="ann", k=20))
    assert (twenty[5], twenty[15]) == ("new too", "new")
    assert not {"new", "new too"} & set(ids(await ask(world, services, user_id="ann", k=5)))
    learner.learn(["bob", "bob"], ["new", "new too"], [NOW, NOW + 1])
    learner.commit(NOW + 2)
    await services.models.refresh()
    after = await ask(world, services, user_id="ann", k=10)
    assert not any("content" in item["sources"] for item in after["items"])


async def test_newcomers_keep_to_what_is_asked_for_may_be_shown_and_fits() -> None:
    world, _ = learned()
    services = await following(world)
    world.add_item("western", "Rio", categories=["Western"])
    world.add_item("sold out", "Gone", categories=["Horror"], available=False)
    assert not {"western", "sold out"} & set(ids(await ask(world, services, user_id="ann", k=50)))
    world.add_item("new", "The Newcomer", categories=["Horror"])
    answer = await ask(world, services, user_id="ann", candidates=HORROR[10:20])
    assert "new" not in ids(answer)
    assert "new" not in ids(await ask(world, services, recent_items=["new", "h1"], k=10))


async def test_a_history_of_new_items_only_is_answered_by_what_is_like_them() -> None:
    world, _ = learned()
    world.add_item("new", "Space Western", categories=["Western"], tags=["space"])
    world.add_item("like it", "Space Cowboys", categories=["Western"])
    services = await following(world)
    answer = await ask(world, services, recent_items=["new"], k=5)
    assert ids(answer)[0] == "like it"
    assert answer["items"][0]["reason"] == "shares Western, space with Space Western"
    assert answer["items"][0]["sources"].keys() == {"content"}
    assert answer["models"]["blend"] == "fixed-rrf-1"
    assert answer["degraded"] is None
    assert ids(answer)[1] in HORROR + COMEDY, "then what is popular"


async def test_without_models_content_comes_before_what_is_popular_where_nothing_else_is_known() -> None:
    world = cinema()
    world.add_item("9", "Shrek the Third", categories=["Animation"])
    world.add_item("10", "Animation", categories=["Animation"])
    answer = await recommend_from(world, recent_items=["9"], k=5)
    assert set(ids(answer)[:2]) == {"8", "10"}
    assert {item["reason"] for item in answer["items"][:2]} == {
        "shares shrek with Shrek the Third", "shares Animation with Shrek the Third",
    }  # fmt: skip
    assert {item["reason"] for item in answer["items"][2:]} == {"popular now"}
    assert answer["degraded"] is None
    personal = await recommend_from(world, recent_items=["1"], k=20)
    assert not any("content" in item["sources"] for item in personal["items"]), "people's behaviour is enough"


def test_newcomers_take_the_sixth_place_of_every_ten() -> None:
    chosen = [(str(n), 1.0 - n / 100) for n in range(40)]
    places = with_newcomers(chosen, iter("abcdefg"), 30)
    assert [at for at, (item, _) in enumerate(places, 1) if item.isalpha()] == [6, 16, 26]
    assert len(places) == 30
    assert [score for _, score in places] == sorted([score for _, score in places], reverse=True)
    assert with_newcomers(chosen[:4], ["a"], 10) == chosen[:4], "a short list has no sixth place"
    assert with_newcomers(chosen[:5], ["a"], 10)[5] == ("a", chosen[4][1])
    assert with_newcomers([], ["a"], 10) == []


# --- the index


async def test_a_large_catalogue_is_taken_over_while_others_get_their_turn() -> None:
    catalogue = Catalogue()
    for n in range(3000):
        catalogue.apply(b"", orjson.dumps({"item_id": str(n), "categories": ["Horror"], "attributes": {}}))
    source, turns = ContentSource(catalogue), 0
    task = asyncio.create_task(source.refresh())
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 30
    assert len(source) == 3000
    catalogue.apply(b"7", None)
    catalogue.apply(b"", b'{"item_id": "new", "categories": ["Horror"]}')
    assert next(iter(source.candidates(["0"], 1, ("0",)))) == "new", "a question takes over the last few changes itself"
    assert len(source) == 3000
    assert source.likeness("new", ["nobody", "0"]) == Likeness("0", ("Horror",))
    assert source.likeness("new", ["7"]) is None


# --- where somebody is


def with_contexts() -> tuple[World, Learner]:
    world, learner = learned()
    times = [NOW - 60_000 + n for n in range(200)]
    learner.learn([f"p{n}" for n in range(200)], ["c1"] * 200, times, ("country=DE", "device=phone"))
    learner.learn([f"t{n}" for n in range(200)], ["h1"] * 200, times, ("country=FR", "device=tv"))
    learner.commit(NOW)
    return world, learner


async def test_popular_in_a_context() -> None:
    world, _ = with_contexts()
    services = await following(world)
    async with world.client(services=services) as client:
        answer = (await client.get("/v1/popular", params={"context": "device=phone"})).json()
        assert ids(answer) == ["c1"]
        assert (answer["context"], answer["degraded"]) == (["device=phone"], None)
        first = answer["items"][0]
        assert first["reason"] == "popular now for device phone"
        assert first["score"] == pytest.approx(200 / 210, rel=1e-3)
        assert first["velocity"] > 1
        both = (await client.get("/v1/popular", params={"context": ["device=phone", "country=FR"]})).json()
        assert set(ids(both)) == {"c1", "h1"}
        hour = (await client.get("/v1/popular", params={"context": "hour=8", "k": 3})).json()
        assert len(hour["items"]) == 3
        empty = (await client.get("/v1/popular", params={"context": "device=watch"})).json()
        assert (empty["items"], empty["degraded"]) == ([], "no_events")
        for wrong in ({"context": "phone"}, {"context": "user=ann"}, {"context": "device="}):
            assert_problem(await client.get("/v1/popular", params=wrong), 422)
        assert_problem(await client.get("/v1/popular", params={"context": "device=phone", "window": "1h"}), 422)
    assert (await get(cinema(), "/v1/popular", context="device=phone")).json()["degraded"] == "no_events"


async def test_somebody_unknown_gets_what_is_popular_where_they_are() -> None:
    world, _ = with_contexts()
    services = await following(world)
    phone = await ask(world, services, context={"device": "phone", "country": "DE"})
    screen = await ask(world, services, context={"device": "tv", "country": "FR"})
    assert ids(phone)[0] == "c1" and ids(screen)[0] == "h1"
    first = phone["items"][0]
    assert first["reason"] == "popular now for country DE, device phone"
    assert first["sources"]["context"] == pytest.approx(200 / 210, rel=1e-3)
    assert phone["models"]["blend"].startswith("blend@")
    scores = [item["score"] for item in phone["items"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 10
    nowhere = await ask(world, services)
    assert ids(await ask(world, services, context={"device": "watch"})) == ids(nowhere)
    assert not any("context" in item["sources"] for item in nowhere["items"])


async def test_somebody_known_is_not_moved_by_where_they_are() -> None:
    world, _ = with_contexts()
    services = await following(world)
    here = await ask(world, services, user_id="ann", context={"device": "phone"})
    assert ids(here) == ids(await ask(world, services, user_id="ann"))


async def test_without_a_trained_blend_the_popular_items_of_the_context_come_first() -> None:
    world = cinema()
    learner = Learner(world.store)
    learner.learn(["u1"] * 20, ["8"] * 20, [NOW - 100 + n for n in range(20)], ("device=phone",))
    learner.commit(NOW)
    services = await following(world)
    answer = await ask(world, services, context={"device": "phone"}, k=3)
    assert ids(answer)[0] == "8"
    assert answer["items"][0]["reason"] == "popular now for device phone"
    assert answer["models"]["blend"] == "fixed-rrf-1"
    assert ids(await ask(world, services, k=3))[0] == "1"


async def test_a_word_that_is_a_tag_too_is_told_once() -> None:
    catalogue = Catalogue()
    source = ContentSource(catalogue)
    for item, title in (("1", "Meadow Oak Pump"), ("2", "Meadow Steel Pump")):
        record = {"item_id": item, "title": title, "tags": ["meadow"], "categories": ["Bicycle"]}
        catalogue.apply(item.encode(), orjson.dumps(record))
    await source.refresh()
    likeness = source.likeness("2", ["1"])
    assert likeness is not None
    assert sorted(likeness.shared) == ["Bicycle", "meadow", "pump"]
