"""Recommendations, from the stages that fill the store to the answer over HTTP; and what is answered when something is missing."""

from __future__ import annotations

from typing import Any

import pytest

from serving.query import RecommendationQuery
from tests.test_serving_world import NOW, World, cinema, ids, recommend, recommend_from

# --- the full answer


async def test_a_fully_personal_answer_has_the_contracts_form() -> None:
    answer = await recommend(cinema(), k=3)
    assert answer.keys() == {"request_id", "user_id", "items", "models", "freshness", "experiment", "degraded"}
    assert answer["user_id"] == "ann"
    assert answer["degraded"] is None
    assert answer["experiment"] is None
    assert answer["models"] == {"nearline": answer["models"]["nearline"], "batch": None, "blend": "fixed-rrf-1"}
    assert answer["freshness"] == {"newest_event_at": "2026-01-01T08:59:00.000Z", "age_ms": 60_000, "event_to_effect_ms": 60_031}
    assert len(answer["request_id"]) == 26
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]


async def test_horror_is_followed_by_horror_and_the_reason_is_true() -> None:
    answer = await recommend(cinema(), k=3)
    assert sorted(ids(answer)) == ["2", "3", "4"]
    first = answer["items"][0]
    assert first["title"] in {"Aliens", "The Thing", "Scream"}
    assert first["reason"] == "because you watched Alien"
    assert sum(first["sources"].values()) == pytest.approx(first["score"])
    assert next(iter(first["sources"])) == "covisitation"


async def test_a_click_changes_this_users_list_and_no_other() -> None:
    world = cinema()
    world.learn(("bob", "1", "view", 50_000))
    before, others_before = await recommend(world), await recommend(world, "bob")
    world.learn(*[("ann", item, "click", 1000 - at) for at, item in enumerate("56")])
    after, others_after = await recommend(world), await recommend(world, "bob")
    assert ids(before) != ids(after)
    assert ids(after)[0] in {"7", "8"}
    assert set(ids(others_before)[:3]) == set(ids(others_after)[:3]) == {"2", "3", "4"}


async def test_what_was_seen_is_not_shown_again() -> None:
    world = cinema()
    world.learn(("ann", "2", "click", 10))
    assert not {"1", "2"} & set(ids(await recommend(world, k=200)))


async def test_what_was_disliked_is_neither_shown_nor_followed() -> None:
    world = cinema()
    world.learn(("eve", "1", "click", 200), ("eve", "5", "click", 100), ("eve", "5", "hide", 50))
    answer = await recommend(world, "eve", k=200, explain=True)
    assert answer["explanation"]["seeds"] == ["1"]
    assert not {"1", "5"} & set(ids(answer))


async def test_deleted_and_unavailable_items_are_not_shown() -> None:
    world = cinema()
    world.catalogue.apply(b"2", None)
    world.add_item("3", "The Thing", available=False)
    assert not {"2", "3"} & set(ids(await recommend(world, k=200)))


async def test_without_any_catalogue_every_item_may_be_shown() -> None:
    world = World()
    world.learn(
        *[(f"u{u}", item, "click", 1000 - at) for u in range(3) for at, item in enumerate("abc")], ("ann", "a", "click", 10)
    )
    answer = await recommend(world)
    assert set(ids(answer)) == {"b", "c"}
    assert answer["degraded"] is None
    assert "title" not in answer["items"][0]
    assert answer["items"][0]["reason"] == "because you watched a"


async def test_unknown_query_parameters_are_ignored() -> None:
    assert len((await recommend(cinema(), k=2, colour="x", page="0.5"))["items"]) == 2


async def test_explain_says_what_the_list_was_made_of() -> None:
    explanation = (await recommend(cinema(), explain=True))["explanation"]
    assert explanation["seeds"] == ["1"]
    assert explanation["categories"] == ["Horror"]
    assert explanation["candidates"]["covisitation"] == 3
    assert explanation["dropped"]["seen"] == 1
    assert explanation["store_round_trips"] == 2


async def test_at_most_two_round_trips() -> None:
    world = cinema()
    services = world.services()
    await services.background.refresh()
    for query in (
        RecommendationQuery(user_id="ann"),
        RecommendationQuery(user_id="nobody"),
        RecommendationQuery(user_id="ann", recent_items=["5"], candidates=["2", "6"], k=200),
    ):
        before = world.store.round_trips
        decision = await services.recommender.recommend(query)
        assert world.store.round_trips - before == decision.round_trips <= 2


async def test_two_processes_give_the_same_list() -> None:
    world = cinema()
    assert (await recommend(world, k=200))["items"] == (await recommend(world, k=200))["items"]


async def test_request_ids_sort_by_time() -> None:
    world = cinema()
    first = await recommend(world)
    world.now += 1
    assert first["request_id"] < (await recommend(world))["request_id"]


# --- sessions, candidates, the page


async def test_an_anonymous_visitor_is_served_by_the_session() -> None:
    answer = await recommend_from(cinema(), recent_items=["5"], k=3)
    assert answer["user_id"] is None
    assert answer["degraded"] is None
    assert set(ids(answer)) == {"6", "7", "8"}
    assert answer["items"][0]["reason"] == "because you watched Airplane!"


async def test_an_anonymous_visitor_without_a_session_gets_what_is_popular() -> None:
    answer = await recommend_from(cinema(), k=3)
    assert answer["degraded"] == "anonymous"
    assert {item["reason"] for item in answer["items"]} == {"popular now"}


async def test_the_item_of_the_page_is_better_than_nothing() -> None:
    answer = await recommend_from(cinema(), context={"item_id": "5"}, k=3)
    assert set(ids(answer)) == {"6", "7", "8"}
    assert answer["items"][0]["reason"] == "similar to Airplane!"


async def test_the_session_comes_before_the_history() -> None:
    answer = await recommend_from(cinema(), user_id="ann", recent_items=["5"], k=200, explain=True)
    assert answer["explanation"]["seeds"] == ["5", "1"]
    assert not {"1", "5"} & set(ids(answer))


async def test_only_candidates_are_shown_and_those_without_evidence_come_last() -> None:
    world = cinema()
    world.add_item("99", "Unheard of")
    answer = await recommend_from(world, user_id="ann", candidates=["99", "5", "2", "1"])
    assert ids(answer) == ["2", "5", "99"]
    assert answer["items"][2]["reason"] == "one of the items asked for"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_id": "a\nb"}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"k": 0}, "k"),
        ({"k": 201}, "k"),
        ({"k": "ten"}, "k"),
        ({"unknown": 1}, "unknown"),
        ({"recent_items": ["x" * 257]}, "recent_items.0"),
        ({"recent_items": ["x"] * 101}, "recent_items"),
        ({"candidates": "a"}, "candidates"),
        ({"context": {"deep": {}}}, "context.deep.str"),
    ],
)
async def test_wrong_bodies_are_explained(body: dict[str, Any], field: str) -> None:
    async with World().client() as client:
        response = await client.post("/v1/recommendations", json=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert field in [error["field"] for error in response.json()["errors"]]


@pytest.mark.parametrize("k", ["0", "201", "-1", "x", "1e3", "9" * 5000])
async def test_k_is_1_to_200(k: str) -> None:
    async with cinema().client() as client:
        response = await client.get("/v1/users/ann/recommendations", params={"k": k})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "k"


# --- impressions


async def test_what_was_shown_is_logged_in_the_contracts_form() -> None:
    world = cinema()
    answer = await recommend(world, k=2, surface="home")
    (value,) = world.log.of_topic("impressions")
    assert value == {
        "request_id": answer["request_id"], "user_id": "ann", "timestamp": NOW, "context": {"surface": "home"},
        "items": [
            {"item_id": item["item_id"], "position": at, "score": item["score"], "source": "covisitation"}
            for at, item in enumerate(answer["items"])
        ],
    }  # fmt: skip
    assert world.log.records[0].key == b"ann"


async def test_impressions_that_kafka_does_not_take_are_counted_and_harm_nobody() -> None:
    world = cinema()
    world.log.connected = False
    services = world.services()
    async with world.client(services=services) as client:
        assert (await client.get("/v1/users/ann/recommendations")).status_code == 200
    assert 'freshet_impressions_total{outcome="failed"} 1.0' in services.metrics.text().decode()
