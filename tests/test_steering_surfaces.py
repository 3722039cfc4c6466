"""Surfaces, previews and exploration over HTTP: with the online blend and without it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from serving.plan import plan_of
from serving.query import RecommendationQuery
from serving.surface_file import parse_surfaces
from tests.learned_world import HORROR, MINUTE
from tests.steering_world import ask, post, price, priced, steered
from tests.test_serving_world import assert_problem, cinema, ids

# --- steering


async def test_boosts_change_the_order_and_not_the_scores() -> None:
    world = priced()
    plain = {item["item_id"]: item["score"] for item in (await ask(world, k=200))["items"]}
    boosted = await ask(world, """surfaces: {default: {boosts: [{when: 'price < 20', factor: 3}]}}""", k=10)
    worth = {item: score * (3 if price(item) < 20 else 1) for item, score in plain.items()}
    assert ids(boosted) == sorted(worth, key=lambda item: -worth[item])[:10] != list(plain)[:10]
    assert all(item["score"] == pytest.approx(plain[item["item_id"]]) for item in boosted["items"])


async def test_pins_have_their_places_unless_the_person_hid_them_or_they_are_gone() -> None:
    world = priced()
    pins = "surfaces: {home: {pins: [{item: c39, position: 1}, {item: c38, position: 3}, {item: c37, position: 9}]}}"
    answer = await ask(world, pins, surface="home", k=5)
    assert len(ids(answer)) == 5
    assert (ids(answer)[0], ids(answer)[2]) == ("c39", "c38")
    assert answer["items"][0]["sources"] == {"pinned": answer["items"][0]["score"]}
    assert answer["items"][0]["reason"] == "chosen for this place"
    assert ids(await ask(world, pins, k=5))[0] != "c39"  # another surface
    world.learn(("ann", "c39", "hide", 10))
    world.add_item("c38", "gone", available=False)
    assert not {"c38", "c39"} & set(ids(await ask(world, pins, surface="home", k=5)))
    assert not {"c37"} & set(ids(await ask(world, pins, surface="home", k=9, filter="price < 30")))


@pytest.mark.parametrize("online", [True, False])
async def test_what_was_seen_comes_back_after_its_time(online: bool) -> None:
    world = priced() if online else cinema()
    first = "h3" if online else "1"
    user = "ann"
    services = await steered(world) if online else world.services()

    async def shown(surface: str) -> set[str]:
        services.surfaces.current = parse_surfaces("surfaces: {default: {exclude: %s}}" % surface)  # noqa: UP031 - YAML has braces
        return set(ids((await post(world, services, user_id=user, k=200)).json()))

    assert first not in await shown("{}")
    assert first not in await shown("{seen: 5m}")
    world.now += 10 * MINUTE
    assert first in await shown("{seen: 5m}")
    assert first in await shown("{seen: never}")
    assert first not in await shown("{seen: 1h}")
    world.learn((user, first, "hide", 6 * MINUTE))
    assert first not in await shown("{seen: 5m}")  # hidden: forever
    assert first in await shown("{seen: 5m, hidden: 5m}")
    world.learn((user, first, "purchase", 20 * MINUTE))
    assert first not in await shown("{seen: 5m, hidden: 5m}")  # bought: forever
    assert first in await shown("{seen: 5m, hidden: 5m, bought: 15m}")


async def test_what_comes_back_has_a_place_by_its_merit() -> None:
    world = priced()
    answer = await ask(world, "surfaces: {default: {exclude: {seen: never}}}", k=40)
    assert answer["models"]["blend"].startswith("blend@")
    assert {"h3", "h7"} <= set(ids(answer))
    again = next(item for item in answer["items"] if item["item_id"] == "h3")
    assert not again["sources"].keys() & {"covisitation", "affinity", "trending", "catalogue"}  # the blend proposes it


async def test_sources_can_be_switched_off() -> None:
    world = priced()
    answer = await ask(world, "surfaces: {default: {sources: {blend: off, trending: off, catalogue: off}}}", k=20, explain=True)
    assert answer["models"]["blend"] == "fixed-rrf-1"
    assert {source for item in answer["items"] for source in item["sources"]} <= {"covisitation", "affinity", "content"}
    assert answer["explanation"]["weights"]["trending"] == 0
    nothing = "surfaces: {default: {sources: {blend: off, covisitation: 0, affinity: 0, content: 0, trending: 0, catalogue: 0}}}"
    assert (await ask(world, nothing))["items"] == []


async def test_a_surface_explains_itself() -> None:
    told = (await ask(priced(), "surfaces: {home: {diversity: {default: 0.3}}}", surface="home", explain=True))["explanation"]
    assert told["surface"] == {"name": "home", "diversity": 0.3, "explore": 0, "constraints": [], "relaxed": [], "pinned": []}
    assert "surface" not in (await ask(priced(), explain=True))["explanation"]


async def test_steering_costs_no_round_trip_more_than_two() -> None:
    world = priced()
    services = await steered(
        world, "surfaces: {default: {exploration: {method: thompson, amount: 0.3}, diversity: {default: 0.4}}}"
    )
    for body in ({"user_id": "ann"}, {"user_id": "ann", "filter": "price < 3"}, {"recent_items": ["h1"], "k": 200}):
        query = RecommendationQuery.model_validate(body)
        before = world.store.round_trips
        decision = await services.recommender.recommend(query, plan_of(query, services.surfaces.current, "01J", world.now))
        assert not decision.plan.plain
        assert world.store.round_trips - before == decision.round_trips <= 2


# --- previews


async def test_a_preview_shows_what_a_file_would_do_and_does_nothing() -> None:
    world = priced()
    services = await steered(world)
    body = {"surfaces": "surfaces: {home: {filter: price < 10}}", "query": {"user_id": "ann", "surface": "home", "k": 8}}
    response = await post(world, services, "/v1/surfaces/preview", **body)
    answer = response.json()
    assert answer["surface"] == "home"
    assert all(price(item) < 10 for item in ids(answer["preview"]))
    assert ids(answer["served"]) == ids(await ask(world, services=services, surface="home", k=8))
    assert answer["entered"] == [item for item in ids(answer["preview"]) if item not in ids(answer["served"])]
    assert answer["left"] == [item for item in ids(answer["served"]) if item not in ids(answer["preview"])]
    assert len(world.log.of_topic("impressions")) == 1  # of the request after it


async def test_a_preview_of_a_wrong_file_names_its_lines() -> None:
    world = cinema()
    response = await post(
        world, world.services(), "/v1/surfaces/preview", surfaces="surfaces:\n  home:\n    filter: price <", query={}
    )
    (fault,) = assert_problem(response, 422)["errors"]
    assert fault["field"] == "surfaces"
    assert fault["message"].startswith("line 3: surfaces.home.filter: column 8: expected")


# --- exploration

EPSILON = "surfaces: {default: {exploration: {method: epsilon, amount: 0.5, pool: 30}}}"


@pytest.mark.parametrize("method", ["epsilon", "softmax", "thompson"])
async def test_what_is_explored_is_logged_with_its_propensities(method: str) -> None:
    world = priced()
    answer = await ask(world, f"surfaces: {{default: {{exploration: {{method: {method}, amount: 0.5, pool: 30}}}}}}", k=10)
    (impression,) = world.log.of_topic("impressions")
    assert len(set(ids(answer))) == 10
    for told, logged in zip(answer["items"], impression["items"], strict=True):
        assert 0 < told["propensity"] == logged["propensity"] <= 1
        assert ("first_propensity" in logged) == (method != "thompson")
    assert any(item["propensity"] < 1 for item in answer["items"])


async def test_without_exploration_nothing_is_said_of_propensities() -> None:
    world = priced()
    for surfaces, body in (("surfaces: {}", {}), (EPSILON, {"explore": 0}), ("surfaces: {}", {"filter": "price < 30"})):
        answer = await ask(world, surfaces, **body)
        assert "propensity" not in answer["items"][0]
        assert "propensity" not in world.log.of_topic("impressions")[-1]["items"][0]


async def test_the_same_request_id_draws_the_same_list() -> None:
    world = priced()
    services = await steered(world, EPSILON)
    names = iter(["one", "two", "one"])
    services.new_id = lambda: next(names)  # type: ignore[method-assign]
    lists = [ids(await ask(world, services=services, k=10)) for _ in range(3)]
    assert lists[0] == lists[2] != lists[1]


async def test_logged_propensities_are_how_often_items_came() -> None:
    world = priced()
    services = await steered(world, EPSILON)
    count, k = 400, 5
    came: Counter[str] = Counter()
    told: dict[str, float] = {}
    async with world.client(services=services) as client:
        for n in range(count):
            services.new_id = lambda n=n: f"request {n}"  # type: ignore[method-assign, misc]
            for item in (await client.get("/v1/users/ann/recommendations", params={"k": k})).json()["items"]:
                came[item["item_id"]] += 1
                told[item["item_id"]] = item["propensity"]
    likely = np.array(list(told.values()))
    seen = np.array([came[item] for item in told])
    assert (np.abs(seen - count * likely) <= 4.5 * np.sqrt(count * likely * (1 - likely)) + 1).all()
    assert len(told) == 30
    assert likely.sum() == pytest.approx(k)


async def test_thompson_places_go_to_what_is_little_known() -> None:
    world = priced()
    world.learn(*[(f"v{n}", item, "click", 10 + n) for n in range(60) for item in HORROR[8:]])
    services = await steered(world, "surfaces: {default: {exploration: {method: thompson, amount: 0.2, pool: 60, few: 40}}}")
    plain = ids(await ask(world, k=10, filter="price >= 0"))
    answer = await ask(world, services=services, k=10)
    explored = [item["item_id"] for item in answer["items"] if item["propensity"] < 1]
    assert len(explored) == 2
    assert not set(explored) & set(HORROR[8:])
    assert [item for item in ids(answer) if item not in explored] == [item for item in plain if item not in explored][:8]
    for _ in range(45):
        services.recommender.steering.shown.note(explored)
    assert not set(explored) & {
        item["item_id"] for item in (await ask(world, services=services, k=10))["items"] if item["propensity"] < 1
    }


async def test_pins_and_newcomers_are_sure_where_the_rest_is_drawn() -> None:
    world = priced()
    for n in range(3):
        world.add_item(f"new{n}", categories=["Horror"])
    surfaces = "surfaces: {default: {exploration: {amount: 0.9}, pins: [{item: c39, position: 2}]}}"
    answer = await ask(world, surfaces, k=10)
    sure = [item["item_id"] for item in answer["items"] if item["propensity"] == 1]
    assert len(set(ids(answer))) == 10
    assert "c39" in sure
    assert any(item.startswith("new") for item in sure)
    assert ids(answer)[1] == "c39"
