"""Filters, constraints and diversity over HTTP: with the online blend and without it."""

from __future__ import annotations

from typing import Any

import pytest

from serving.surface_file import parse_surfaces
from tests.learned_world import COMEDY, HORROR
from tests.steering_world import ask, post, price, priced, steered
from tests.test_serving_world import assert_problem, cinema, ids

# --- filters


@pytest.mark.parametrize("k", [5, 200])
async def test_only_what_the_filter_holds_for_comes_in_the_order_of_the_blend(k: int) -> None:
    world = priced()
    everything, kept = await ask(world, k=200), await ask(world, filter='price < 20 and "Comedy" in categories', k=k)
    fitting = [item for item in ids(everything) if item in COMEDY and price(item) < 20]
    assert ids(kept) == fitting[:k]
    scores = {item["item_id"]: item["score"] for item in everything["items"]}
    assert {item["item_id"]: item["score"] for item in kept["items"][:5]} == pytest.approx(
        {item: scores[item] for item in ids(kept)[:5]}
    )


async def test_the_filter_of_the_url_does_the_same() -> None:
    world = priced()
    async with world.client(services=await steered(world)) as client:
        response = await client.get(
            "/v1/users/ann/recommendations", params={"filter": 'studio == "north" and age_days <= 1', "k": 50}
        )
    assert sorted(ids(response.json())) == ["c1", "c3", "h1"]  # h3 was seen


@pytest.mark.parametrize("at", ["url", "body"])
async def test_a_wrong_filter_is_refused_with_its_column(at: str) -> None:
    world = priced()
    wrong = "price < 20 and categories"
    async with world.client(services=await steered(world)) as client:
        response = (
            await client.get("/v1/users/ann/recommendations", params={"filter": wrong})
            if at == "url"
            else await client.post("/v1/recommendations", json={"filter": wrong})
        )
    (fault,) = assert_problem(response, 422)["errors"]
    assert fault["field"] == "filter"
    assert fault["message"].startswith("column 26: expected ==, !=")


@pytest.mark.parametrize("body", [{"diversity": 1.1}, {"explore": -0.1}, {"diversity": "much"}, {"filter": ""}])
async def test_knobs_have_bounds(body: dict[str, Any]) -> None:
    world = cinema()
    response = await post(world, world.services(), **body)
    assert [fault["field"] for fault in assert_problem(response, 422)["errors"]] == list(body)


async def test_a_filter_works_without_the_blend_and_for_seen_items() -> None:
    world = cinema()
    response = await post(world, world.services(), user_id="ann", filter='"Comedy" in categories and not seen', k=9)
    assert sorted(ids(response.json())) == ["5", "6", "7", "8"]
    assert response.json()["degraded"] is None


# --- constraints


async def test_constraints_hold_as_long_as_enough_items_meet_them() -> None:
    answer = await ask(priced(), constraints={"price": {"min": 10, "max": 30}, "categories": {"any": ["Horror"]}}, k=5)
    assert answer["relaxed"] == []
    assert all(10 <= price(item) <= 30 and item in HORROR for item in ids(answer))


async def test_the_least_important_constraint_gives_way_first_and_what_meets_it_stays_in_front() -> None:
    wishes = [
        {"name": "comedy", "filter": '"Comedy" in categories'},
        {"name": "cheap", "filter": "price < 20"},
        {"name": "northern", "filter": 'studio == "north"'},
    ]
    world = priced()
    answer = await ask(world, constraints=wishes, k=15)
    assert answer["relaxed"] == ["northern"]
    assert all(item in COMEDY and price(item) < 20 for item in ids(answer))
    assert all(price(item) % 2 for item in ids(answer)[:10])
    assert not any(price(item) % 2 for item in ids(answer)[10:])
    assert (await ask(world, constraints=wishes, k=30))["relaxed"] == ["cheap", "northern"]
    assert (await ask(world, constraints=wishes, k=10))["relaxed"] == []


async def test_answers_without_constraints_say_nothing_of_them() -> None:
    assert "relaxed" not in await ask(priced(), filter="price < 20")


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"price": {"any": ["x"]}}, None),
        ({"price": {"equals": "x"}}, "a number"),
        ({"price": {}}, "one of min"),
        ({"a b": {"max": 1}}, "end"),
    ],
)
async def test_constraints_that_make_no_sense_are_refused(wishes: dict[str, Any], said: str | None) -> None:
    response = await post(world := priced(), await steered(world), user_id="ann", constraints=wishes)
    if said is None:  # nothing costs "x": the wish gives way
        assert response.json()["relaxed"] == ["price"]
    else:
        assert said in assert_problem(response, 422)["detail"]


# --- diversity and the other rerankers


async def test_no_diversity_is_exactly_the_plain_list() -> None:
    world = priced()
    plain = await ask(world, k=20)
    assert (await ask(world, k=20, diversity=0))["items"] == plain["items"]
    neutral = "surfaces: {default: {boosts: [{when: 'price > 1000', factor: 2}]}}"  # steered, but of no effect
    assert (await ask(world, neutral, k=20))["items"] == plain["items"]


async def test_the_knob_brings_in_what_is_unlike() -> None:
    world = priced()
    shares = [sum(item in COMEDY for item in ids(await ask(world, k=10, diversity=knob))) for knob in (0, 0.5, 1)]
    assert shares[0] <= 2
    assert shares[2] == 5
    assert shares == sorted(shares)
    mmr = "surfaces: {default: {diversity: {method: mmr, default: 1}}}"
    assert ids(await ask(world, mmr, k=10))[1] in COMEDY
    assert ids(await ask(world, mmr, k=10, diversity=0)) == ids(await ask(world, k=10))


async def test_caps_calibration_and_exposure() -> None:
    world = priced()
    capped = ids(await ask(world, "surfaces: {default: {caps: {categories: {Horror: 4}}}}", k=10))
    assert sum(item in HORROR for item in capped) == 4
    fair = "surfaces: {default: {exposure: {by: studio, weight: 1, targets: {north: 1, south: 1}}}}"
    northern = [price(item) % 2 for item in ids(await ask(world, fair, k=10))]
    assert 4 <= sum(northern) <= 6
    world.learn(("ann", "c1", "click", 5), ("ann", "c2", "click", 4))
    mixed = ids(await ask(world, "surfaces: {default: {calibration: 1}}", k=12))
    assert sum(item in COMEDY for item in mixed) == 6  # as Ann's own two and two


async def test_popular_items_can_be_damped() -> None:
    world = cinema()
    plain = ids((await post(world, world.services(), k=8)).json())
    services = world.services()
    services.surfaces.current = parse_surfaces("surfaces: {default: {popularity_damping: 1, novelty: 1}}")
    damped = ids((await post(world, services, k=8)).json())
    assert sorted(damped) == sorted(plain)
    assert damped != plain
