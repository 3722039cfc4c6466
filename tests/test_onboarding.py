"""What to ask somebody new: the pure choice by hand, the questions of a process, and what follows from the answers."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.onboarding import MOST_QUESTIONS
from serving.ranking.elicitation import entropy, expected, likeness, questions, values
from serving.services import Services
from tests.learned_world import COMEDY, HORROR, following, learned
from tests.test_groups import client_of
from tests.test_serving_world import World, assert_problem, cinema, ids

# --- which items tell most


def test_value_by_hand() -> None:
    """Three of four events are about horror, which two films share; a comedy stands alone."""
    alike = likeness(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    counts = np.array([5.0, 1.0, 1.0])
    shares = expected(alike, counts)
    assert shares.tolist() == pytest.approx([0.8, 0.8, 0.2])
    bits = -0.8 * math.log2(0.8) - 0.2 * math.log2(0.2)
    assert values(counts, shares).tolist() == pytest.approx([math.log2(7) * bits, math.log2(3) * bits, math.log2(3) * bits])
    assert questions(values(counts, shares), alike, 3).tolist() == [0, 2, 1]


def test_what_everybody_or_nobody_takes_tells_nothing() -> None:
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    assert entropy(p).argmax() == 2
    assert (entropy(p)[0], entropy(p)[4]) == (0.0, 0.0)
    assert entropy(p)[1] == pytest.approx(entropy(p)[3])


def test_every_taste_is_asked_about_in_proportion_to_its_value() -> None:
    kinds = np.repeat([0, 1, 2], [10, 10, 10])
    alike = likeness(np.eye(3)[kinds])
    order = questions(np.where(kinds == 0, 4.0, np.where(kinds == 1, 2.1, 1.1)), alike, 7)
    assert np.bincount(kinds[order]).tolist() == [4, 2, 1]
    assert kinds[order[:3]].tolist() == [0, 1, 0], "4, then 2.1 before 4 / 2, then that"


def test_what_is_not_known_of_an_item_in_one_way_is_known_in_another() -> None:
    described = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    taken = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert likeness(described, taken).round(3).tolist() == [[1.0, 0.5, 0.0], [0.5, 1.0, 0.707], [0.0, 0.707, 1.0]]


@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 1000))
def test_questions_are_different_and_begin_with_the_most_telling(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    alike, worth = likeness(rng.normal(size=(n, 3))), rng.random(n)
    order = questions(worth, alike, k).tolist()
    assert len(order) == len(set(order)) == min(n, k)
    assert order[0] == worth.argmax()
    assert questions(worth, alike, n).tolist()[: len(order)] == order, "more questions do not change the first"


# --- the questions of a process


async def ask(services: Services, **params: Any) -> dict[str, Any]:
    async with client_of(services) as client:
        response = await client.get("/v1/onboarding", params=params)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def asking(world: World) -> Services:
    services = await following(world)
    await services.onboarding.refresh()
    return services


async def test_questions_are_about_all_tastes_and_say_why() -> None:
    world, _ = learned()
    answer = await ask(await asking(world), k=10)
    assert answer.keys() == {"items", "basis", "degraded"}
    assert (answer["basis"], answer["degraded"]) == ("models", None)
    assert len(set(ids(answer))) == 10
    assert len(set(ids(answer)) & set(HORROR)) == len(set(ids(answer)) & set(COMEDY)) == 5
    assert [item["rank"] for item in answer["items"]] == list(range(1, 11))
    first = answer["items"][0]
    assert first["title"] == f"Film {first['item_id']}"
    assert first["categories"] == ["Horror" if first["item_id"] in HORROR else "Comedy"]
    assert first["why"].startswith("popular, and ")
    assert first["why"].endswith("% of what people take is like it")


async def test_they_are_among_the_most_taken() -> None:
    world, learner = learned()
    world.add_item("famous", "Everybody saw it", categories=["Horror"])
    users = [f"fan{n}" for n in range(40)] * 20
    learner.learn(users, ["famous"] * len(users), [learner.newest + n for n in range(len(users))])
    learner.commit(learner.newest)
    answer = await ask(await asking(world), k=1)
    assert ids(answer) == ["famous"]


async def test_without_models_it_goes_by_popularity() -> None:
    world = cinema()
    answer = await ask(await asking(world), k=4)
    assert (answer["basis"], answer["degraded"]) == ("popularity", None)
    assert len(set(ids(answer)) & set("1234")) == 2
    assert all(item["why"].startswith("popular, and ") for item in answer["items"])


async def test_without_events_it_goes_by_the_catalogue_and_without_a_catalogue_it_answers() -> None:
    shelf = World()
    for n in range(6):
        shelf.add_item(str(n), f"Film {n}", categories=["Horror" if n < 4 else "Comedy"])
    answer = await ask(await asking(shelf), k=2)
    assert (answer["basis"], answer["degraded"]) == ("catalogue", "no_events")
    assert {item["categories"][0] for item in answer["items"]} == {"Horror", "Comedy"}
    assert {item["why"] for item in answer["items"]} == {"from the catalogue"}
    empty = World()
    assert await ask(await asking(empty)) == {"items": [], "basis": "nothing", "degraded": "no_events"}


async def test_models_without_a_catalogue_answer_too() -> None:
    world, _ = learned()
    for item in HORROR + COMEDY:
        world.catalogue.apply(item.encode(), None)
    answer = await ask(await asking(world), k=10)
    assert answer["basis"] == "models"
    assert answer["degraded"] is None
    assert set(ids(answer)) & set(HORROR) and set(ids(answer)) & set(COMEDY), "who takes them tells the tastes apart"
    world.caught_up.clear()
    assert (await ask(await asking(world)))["degraded"] == "catalogue_unavailable"


async def test_what_cannot_be_had_any_more_is_not_asked_about() -> None:
    world, _ = learned()
    services = await asking(world)
    first, second = ids(await ask(services, k=2))
    world.catalogue.apply(first.encode(), None)
    world.add_item(second, "sold out", available=False)
    left = [item["item_id"] for item in services.onboarding.answer(MOST_QUESTIONS)["items"]]  # nobody has made a new list
    assert len(left) == MOST_QUESTIONS
    assert not {first, second} & set(left)


async def test_the_list_is_kept_and_follows_what_becomes_known() -> None:
    world = World()
    services = await asking(world)
    async with world.client(services=services) as client:
        assert (await client.get("/v1/onboarding")).json()["basis"] == "nothing"
        for n in range(20):
            world.add_item(str(n), f"Film {n}", categories=["Horror"])
        await services.background.refresh()
        for _ in range(100):
            if (await client.get("/v1/onboarding")).json()["basis"] == "catalogue":
                break
            await asyncio.sleep(0.05)
        assert len((await client.get("/v1/onboarding")).json()["items"]) == 10


async def test_a_request_costs_next_to_nothing() -> None:
    world, _ = learned()
    services = await asking(world)
    before = world.store.round_trips
    started = perf_counter()
    for _ in range(100):
        services.onboarding.answer(MOST_QUESTIONS)
    assert (perf_counter() - started) / 100 < 0.003
    assert world.store.round_trips == before


@pytest.mark.parametrize("k", ["0", "51", "ten"])
async def test_k_is_1_to_50(k: str) -> None:
    async with cinema().client() as client:
        response: httpx.Response = await client.get("/v1/onboarding", params={"k": k})
    assert assert_problem(response, 422)["errors"][0]["field"] == "k"


# --- what follows from the answers


async def test_recommendations_follow_three_answers() -> None:
    world, _ = learned()
    services = await asking(world)
    asked = await ask(services, k=10)
    liked = [item["item_id"] for item in asked["items"] if item["categories"] == ["Comedy"]][:3]
    async with world.client(services=services) as client:
        unknown = (await client.get("/v1/users/newcomer/recommendations")).json()
        anonymous = (await client.post("/v1/recommendations", json={"recent_items": liked})).json()
        world.learn(*[("newcomer", item, "like", 1000 - at) for at, item in enumerate(liked)])
        known = (await client.get("/v1/users/newcomer/recommendations")).json()
    comedies = [len(set(ids(answer)) & set(COMEDY)) for answer in (unknown, anonymous, known)]
    assert comedies[1] >= 8 and comedies[2] >= 8 > comedies[0]
    assert (unknown["degraded"], anonymous["degraded"], known["degraded"]) == ("unknown_user", None, None)
    assert not set(liked) & set(ids(known))
