"""`POST /v1/rank`: all of the given items in the order of one person, whatever is known of them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from schemas.errors import StoreUnavailable
from serving.services import Services
from tests.learned_world import COMEDY, HORROR, MINUTE, following, learned
from tests.test_serving_world import World, cinema


async def rank(world: World, services: Services | None = None, status: int = 200, **body: Any) -> dict[str, Any]:
    services = services or await following(world)
    async with world.client(services=services) as client:
        response: httpx.Response = await client.post("/v1/rank", json=body)
    assert response.status_code == status, response.text
    return dict(response.json())


def order(answer: dict[str, Any]) -> list[str]:
    assert [item["rank"] for item in answer["items"]] == list(range(1, len(answer["items"]) + 1))
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    return [item["item_id"] for item in answer["items"]]


async def test_the_blend_orders_what_is_given() -> None:
    world, learner = learned()
    given = [item for pair in zip(COMEDY[10:20], HORROR[10:20], strict=True) for item in pair]
    answer = await rank(world, user_id="ann", items=given)
    assert sorted(order(answer)) == sorted(given)
    assert sum(item in HORROR for item in order(answer)[:10]) >= 8
    assert sum(item["score"] for item in answer["items"]) == pytest.approx(1)
    assert (answer["models"]["blend"], answer["degraded"]) == (f"blend@{learner.bank.learnt}", None)


async def test_it_is_the_order_of_the_recommendations() -> None:
    world, _ = learned()
    services = await following(world)
    async with world.client(services=services) as client:
        shown = (await client.get("/v1/users/ann/recommendations?k=20")).json()["items"]
        names = [item["item_id"] for item in shown]
        answer = (await client.post("/v1/rank", json={"user_id": "ann", "items": sorted(names)})).json()
    assert order(answer) == names
    total = sum(item["score"] for item in shown)
    assert [item["score"] for item in answer["items"]] == pytest.approx([item["score"] / total for item in shown], rel=1e-4)


async def test_nothing_is_left_out() -> None:
    """What they had, what they hid, what nobody knows: the caller asked for an order, not for a choice."""
    world, _ = learned()
    world.learn(("ann", "h9", "hide", MINUTE // 2))
    given = ["new", "h9", "h7", "h20", "other"]
    found = order(await rank(world, user_id="ann", items=given))
    assert sorted(found) == sorted(given)
    assert found.index("h20") < found.index("new") < found.index("other")
    only = await rank(world, user_id="ann", items=["h9"])
    assert [item["score"] for item in only["items"]] == [0.0]


async def test_without_models_the_fixed_blend_orders() -> None:
    answer = await rank(cinema(), cinema().services(), user_id="ann", items=["8", "nobody", "2", "5"])
    assert order(answer)[-1] == "nobody"
    world = cinema()
    known = await rank(world, world.services(), user_id="ann", items=["8", "nobody", "2", "5"])
    assert order(known)[0] == "2", "Ann watched Alien"
    assert known["models"]["blend"] == "fixed-rrf-1"


async def test_anybody_gets_an_order() -> None:
    world, _ = learned()
    services = await following(world)
    given = ["h1", "c1", "h2"]
    assert (await rank(world, services, items=given))["degraded"] == "anonymous"
    assert (await rank(world, services, items=given, user_id="nobody"))["degraded"] == "unknown_user"
    world.learn(("session:s1", "c5", "click", MINUTE))
    assert (await rank(world, services, items=given, session_id="s1"))["degraded"] is None
    assert order(await rank(world, services, items=given, session_id="s1"))[0] == "c1"
    world.store.fault = StoreUnavailable("gone")
    gone = await rank(world, services, items=given, user_id="ann")
    assert (gone["degraded"], sorted(order(gone))) == ("store_unavailable", sorted(given))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": ["a", "a"]}, "items"),
        ({"items": ["a"] * 2001}, "items"),
        ({"items": [""]}, "items.0"),
        ({"items": ["a"], "k": 3}, "k"),
        ({"items": ["a"], "user_id": "\n"}, "user_id"),
    ],
)
async def test_wrong_bodies_are_explained(body: dict[str, Any], field: str) -> None:
    problem = await rank(cinema(), cinema().services(), 422, **body)
    assert problem["errors"][0]["field"] == field
