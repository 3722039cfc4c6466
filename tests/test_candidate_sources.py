"""What every candidate source is held to, and that each of them can be switched by the surfaces file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from serving.candidates.answer import OwnAnswer
from serving.candidates.source import Asked, Candidates, CandidateSource, Input
from serving.candidates.sources import CoVisited, Described, Given, Liked, Newest, Trending, Unheard
from serving.interests import Interests, interests_of
from serving.plan import Plan, plan_of
from serving.query import RecommendationQuery
from serving.ranking.fusion import WEIGHTS
from serving.reads import Reads
from serving.services import Services
from serving.surface_file import parse_surfaces
from tests.learned_world import COMEDY, HORROR, following, learned
from tests.test_serving_world import World

Made = Callable[[Services], CandidateSource]
SOURCES: Final[Mapping[str, Made]] = {
    "covisitation": lambda services: CoVisited(),
    "affinity": lambda services: Liked(services.lists),
    "content": lambda services: Described(),
    "newcomers": lambda services: Unheard(lambda items: (item for item in items if item > "h2")),
    "trending": lambda services: Trending(services.lists),
    "catalogue": lambda services: Newest(services.shelf),
    "editors": lambda services: Given("editors"),
}
BLANK: Final[Mapping[Input, dict[str, Any]]] = {
    Input.NEIGHBOURS: {"neighbours": ()},
    Input.CONTENT: {"alike": {}},
    Input.CONTEXT: {"here": {}},
    Input.ANSWERS: {"given": {}},
}
pytestmark = pytest.mark.parametrize("name", SOURCES)


async def question(services: Services, limit: int = 30, **others: Any) -> Asked:
    """What Ann's request asks with, all inputs filled."""
    recommender, query = services.recommender, RecommendationQuery(user_id="ann")
    reads = Reads(services.store)
    (known,) = await recommender.hydration.people(["ann"], reads)
    interests = interests_of(query, known.state)
    neighbours = await recommender.hydration.neighbours(list(interests.seeds), reads)
    alike = recommender._content.candidates(interests.seeds, 100, interests.seen)
    filled = Asked(
        interests, limit, neighbours=neighbours, alike=alike, here={"c1": 0.5, "h1": 0.2}, given={"editors": HORROR[::-1]}
    )
    assert filled.neighbours and filled.alike and filled.interests.affinities
    return replace(filled, **others)


def shop() -> World:
    """Two kinds of films; people who watched Ann's with others; Ann, who watched h7 and h3."""
    world = World()
    for item in HORROR + COMEDY:
        world.add_item(item, f"Film {item}", categories=["Horror" if item in HORROR else "Comedy"])
    watched = [(f"u{u}", item) for u in range(6) for item in ("h3", f"h{10 + u}", "h7", f"c{u}", "h20")]
    world.learn(*[(user, item, "click", 1_000_000 - 1000 * n) for n, (user, item) in enumerate(watched)])
    world.learn(("ann", "h3", "click", 120_000), ("ann", "h7", "click", 60_000))
    return world


async def ready(world: World) -> Services:
    services = world.services()
    for _ in range(2):  # the categories' lists can be read only once the categories are known
        await services.background.refresh()
    return services


@pytest.fixture
async def services() -> Services:
    return await ready(shop())


def asked_of(name: str, services: Services, asked: Asked) -> Candidates:
    source = SOURCES[name](services)
    assert (source.name, source.weight) == (name, WEIGHTS.get(name, 1.0))
    found = source.candidates(asked)
    assert len(set(found.items)) == len(found.items) <= max(0, asked.limit)
    assert not set(found.items) & (asked.interests.seen | asked.chosen)
    assert asked.only is None or set(found.items) <= set(asked.only)
    parts = [part for piece in found.evidence for part in piece.parts.values()]
    assert all(math.isfinite(part) and part >= 0 for part in parts)
    return found


async def test_it_proposes_and_says_the_same_again(name: str, services: Services) -> None:
    asked = await question(services)
    first = asked_of(name, services, asked)
    assert first.items
    assert asked_of(name, services, asked) == first
    other = await ready(shop())  # another process
    assert asked_of(name, other, await question(other)).items == first.items


async def test_what_it_is_given_stays_as_it_was(name: str, services: Services) -> None:
    asked = await question(services)
    before = repr(asked)
    asked_of(name, services, asked)
    assert repr(asked) == before


@pytest.mark.parametrize("limit", [0, 1, 3, 10_000])
async def test_it_keeps_to_the_limit_and_to_its_order(name: str, services: Services, limit: int) -> None:
    everything = asked_of(name, services, await question(services, 10_000)).items
    assert list(asked_of(name, services, await question(services, limit)).items) == list(everything)[:limit]


async def test_what_must_not_come_does_not_and_leaves_no_hole(name: str, services: Services) -> None:
    everything = list(asked_of(name, services, await question(services, 10_000)).items)
    asked = await question(services, 2, chosen=frozenset(everything[:1]))
    assert list(asked_of(name, services, asked).items) == everything[1:3]
    had = replace(asked.interests, seen=asked.interests.seen | {everything[0]})
    assert list(asked_of(name, services, replace(asked, chosen=frozenset(), interests=had)).items) == everything[1:3]


async def test_only_what_was_asked_for_comes(name: str, services: Services) -> None:
    everything = list(asked_of(name, services, await question(services, 10_000)).items)
    wanted = ("not an item", *everything[-2:])
    found = asked_of(name, services, await question(services, only=wanted)).items
    assert set(everything[-2:]) <= set(found) <= set(wanted)
    assert not asked_of(name, services, await question(services, only=())).items


async def test_somebody_unknown_with_unknown_items(name: str, services: Services) -> None:
    nobody = Interests({"never heard of": None}, None, frozenset({"never heard of"}), {"no such category": 1.0})
    found = asked_of(name, services, Asked(nobody, 10))
    assert bool(found.items) == (name in ("trending", "catalogue"))
    asked_of(name, services, Asked(Interests(), 10))


async def test_an_empty_world(name: str) -> None:
    services = World().services()
    await services.background.refresh()
    assert not asked_of(name, services, Asked(Interests(), 10)).items


async def test_it_reads_what_it_declares_and_nothing_else(name: str, services: Services) -> None:
    asked = await question(services)
    source = SOURCES[name](services)
    poor, rich = asked, asked
    for one, nothing in BLANK.items():
        rich, poor = (rich, replace(poor, **nothing)) if one in source.reads else (replace(rich, **nothing), poor)
    if Input.AFFINITIES in source.reads:
        poor = replace(poor, interests=replace(poor.interests, affinities={}))
    else:
        rich = replace(rich, interests=replace(rich.interests, affinities={}))
    bare = World().services()
    await bare.background.refresh()
    held = source.reads & {Input.POPULARITY, Input.CATALOGUE}
    assert asked_of(name, services if held else bare, rich) == asked_of(name, services, asked), "it reads more than it declares"
    assert asked_of(name, bare, poor).items == [], "it declares what it does not read"


async def test_it_is_quick(name: str, services: Services) -> None:
    """A large question within the bound of the whole request, 15 ms of this process's own time; the best of three."""
    many = {f"x{n}": 1 / (n + 1) for n in range(5000)}
    asked = await question(services, 1100, alike=many, here=many, given={"editors": list(many)}, chosen=frozenset(list(many)[::3]))
    took = []
    for _ in range(3):
        started = time.process_time()
        asked_of(name, services, replace(asked))
        took.append(time.process_time() - started)
    assert min(took) < 0.015


async def test_the_surfaces_file_leaves_it_alone_switches_it_off_and_weighs_it(name: str) -> None:
    if name == "newcomers":
        assert [await with_newcomers(text) for text in ("{}", "{newcomers: off}")] == [True, False]
        return  # it has places of its own, and no part in the fusion
    others = {one: 0 for one in WEIGHTS if one != name}
    own = name not in WEIGHTS
    for weight in (0, 2):
        switched = {**others, **({"own": {name: weight}} if own else {name: weight})}
        listed = ", ".join(f"{one}: {value}" for one, value in switched.items()).replace("'", "")
        text = "sources: {editors: {url: 'http://shop/x'}}\nsurfaces: {default: {sources: {blend: off, newcomers: off, %s}}}"
        surfaces = parse_surfaces(text % listed)
        services = await ready(shop())
        plan = plan_of(RecommendationQuery(user_id="ann"), surfaces)
        assert plan.weights.get(name, 0) == weight * WEIGHTS.get(name, 1.0)
        query = RecommendationQuery(user_id="ann", k=5)
        given = {"editors": OwnAnswer(tuple(HORROR[20:]))} if own and weight else {}
        decision = await decided(services, query, plan, given)
        assert {source for source, part in decision.votes.items() if part} == ({name} if weight else set())
        assert bool(decision.chosen) == bool(weight)


async def decided(services: Services, query: RecommendationQuery, plan: Plan, given: Mapping[str, OwnAnswer]) -> Any:
    """The decision of a request to which a product team's sources have answered this."""
    recommender = services.recommender
    (known,) = await recommender.hydration.people(["ann"], Reads(services.store))
    interests = interests_of(query, known.state)
    decision = await recommender.proposed(query, interests, plan, known, given)
    return await recommender._filled(decision, Reads(services.store))


async def with_newcomers(sources: str) -> bool:
    """Whether a list by the online blend has a place for what nobody has taken yet."""
    world, _ = learned()
    world.add_item("premiere", "Film h7 again", categories=["Horror"])
    services, query = await following(world), RecommendationQuery(user_id="ann", k=10)
    decision = await services.recommender.recommend(
        query, plan_of(query, parse_surfaces(f"surfaces: {{default: {{sources: {sources}}}}}"))
    )
    assert decision.blended is not None
    return "premiere" in decision.newcomers
