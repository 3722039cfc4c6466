"""One list for several people: what it costs, what is answered when something is missing, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import StoreUnavailable
from serving.group_query import GroupQuery
from serving.plan import Plan
from tests.learned_world import following
from tests.test_groups import GROUPS, ask, client_of, couple
from tests.test_serving_world import World, assert_problem, cinema, ids


async def test_one_read_for_all_members() -> None:
    world, _ = couple()
    services = await following(world)
    for query, trips in (
        (GroupQuery(user_ids=["ann", "bob", *(f"fan{n}" for n in range(18))]), 1),
        (GroupQuery(user_ids=["ann", "bob"], k=200), 2),  # more than the blend has: the other sources are asked too, all at once
    ):
        before = world.store.round_trips
        decision = await services.groups.recommend(query, Plan(query.k))
        assert world.store.round_trips - before == decision.round_trips == trips


async def test_a_group_without_models_is_served_by_the_fixed_blend() -> None:
    world = cinema()
    world.learn(("bob", "5", "view", 60_000))
    services = world.services()
    await services.background.refresh()
    answer = await ask(world, services, user_ids=["ann", "bob"], k=6)
    assert answer["models"]["blend"] == "fixed-rrf-1"
    assert answer["degraded"] is None
    assert set(ids(answer)[:6]) >= {"2", "6"}
    assert "covisitation" in answer["items"][0]["sources"]
    decision = await services.groups.recommend(GroupQuery(user_ids=["ann", "bob"], k=6), Plan(6))
    assert decision.round_trips == 2
    assert "1" in decision.columns
    assert "1" not in decision.members[0].proposed, "Ann has had it: only who has not can bring it in"
    assert "1" in decision.members[1].proposed


async def test_what_nobody_has_taken_comes_behind_all_else_newest_first() -> None:
    world, _ = couple()
    for n in range(3):
        world.add_item(f"unseen{n}", categories=["Western"])
    answer = await ask(world, user_ids=["ann", "bob"], k=200)
    assert ids(answer)[-3:] == ["unseen2", "unseen1", "unseen0"]
    assert answer["items"][-1]["satisfaction"] == {"ann": 0.0, "bob": 0.0}


async def test_without_a_store_without_events_and_without_a_catalogue() -> None:
    gone, _ = couple()
    services = await following(gone)
    gone.store.fault = StoreUnavailable("Redis: ConnectionError: refused")
    answer = await ask(gone, services, user_ids=["ann", "bob"])
    assert answer["degraded"] == "store_unavailable"
    assert len(ids(answer)) == 10
    empty = World()
    nothing = await ask(empty, user_ids=["ann", "bob"])
    assert (nothing["degraded"], nothing["items"]) == ("no_events", [])
    assert nothing["members"][0]["satisfaction"] == 0.0
    shelf = World()
    shelf.add_item("1", "Alien")
    shelf.add_item("2", "Aliens")
    assert ids(await ask(shelf, user_ids=["ann", "bob"])) == ["2", "1"]


async def test_what_was_shown_is_logged_once() -> None:
    world, _ = couple()
    answer = await ask(world, user_ids=["ann", "bob"], k=3, surface="sofa", context={"device": "tv"})
    (shown,) = world.log.of_topic("impressions")
    assert shown["user_id"] == f"group:{answer['request_id']}"
    assert shown["context"] == {"device": "tv", "surface": "sofa"}
    assert [place["item_id"] for place in shown["items"]] == ids(answer)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_ids"),
        ({"user_ids": ["ann"]}, "user_ids"),
        ({"user_ids": ["ann", "ann"]}, "user_ids"),
        ({"user_ids": ["ann", "b\nob"]}, "user_ids.1"),
        ({"user_ids": [str(n) for n in range(21)]}, "user_ids"),
        ({"user_ids": ["ann", "bob"], "strategy": "dictator"}, "strategy"),
        ({"user_ids": ["ann", "bob"], "k": 0}, "k"),
        ({"user_ids": ["ann", "bob"], "filter": "price <"}, "filter"),
        ({"user_ids": ["ann", "bob"], "constraints": {"price": {"above": 3}}}, "constraints"),
        ({"user_ids": ["ann", "bob"], "recent_items": []}, "recent_items"),
    ],
)
async def test_wrong_bodies_are_explained(body: dict[str, Any], field: str) -> None:
    async with client_of(World().services()) as client:
        document = assert_problem(await client.post(GROUPS, json=body), 422)
    assert any(error["field"].startswith(field) for error in document["errors"]), document
