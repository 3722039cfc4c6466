"""The Python client, call by call: against the real app in process, and against a server that answers as it is told."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import httpx
import orjson
import pytest
from pydantic import BaseModel
from typing_extensions import is_typeddict

import freshet_client
from freshet_client import (
    AsyncClient,
    Client,
    Event,
    InvalidAnswer,
    InvalidRequest,
    NotFound,
    Retry,
)
from freshet_client import calls as calls_module
from freshet_client.answers import Recommendations
from freshet_client.decoding import read
from freshet_client.events import EventVerbs
from freshet_client.pages import UserPage
from schemas.events import TYPE_NAMES
from serving import answers, explanations
from serving.app import create_app
from serving.group_query import GroupQuery
from serving.query import RecommendationQuery
from serving.ranker import RankQuery
from tests.client_world import Reply, scripted
from tests.test_serving_world import NOW, SETTINGS, World, cinema

AT_ONCE = Retry(base=0.0)


@asynccontextmanager
async def client_of(world: World) -> AsyncIterator[AsyncClient]:
    """A client of the real app over that world."""
    app = create_app(SETTINGS, world.services())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), AsyncClient("http://api", transport=transport, retry=AT_ONCE) as client:
        yield client


# --- the real app


async def test_recommendations_as_attributes() -> None:
    async with client_of(cinema()) as client:
        answer = await client.recommendations("ann", k=3, explain=True, surface="home")
    assert (answer.user_id, len(answer.items), len(answer.request_id)) == ("ann", 3, 26)
    first = answer.items[0]
    assert (first.rank, first.position, first.item_id) == (1, 0, answer.item_ids[0])
    assert first.title is not None
    assert first.score > 0
    assert sum(first.sources.values()) == pytest.approx(first.score)
    assert answer.freshness.age_ms == 60_000
    assert answer.explanation is not None
    assert answer.raw["request_id"] == answer.request_id


async def test_every_parameter_of_recommendations_reaches_the_api() -> None:
    async with client_of(cinema()) as client:
        answer = await client.recommendations(
            k=2, session_id="s", surface="home", filter='"Comedy" in categories', diversity=0.3, explore=0.1, explain=True,
            recent_items=["5"], candidates=["1", "6", "7"], constraints={"price": {"max": 20}}, context={"device": "phone"},
        )  # fmt: skip
        assert set(answer.item_ids) == {"6", "7"}
        assert answer.relaxed == ("price",), "no film has a price"
        with pytest.raises(InvalidRequest) as raised:
            await client.recommendations("ann", k=0)
        assert [fault.field for fault in raised.value.errors] == ["k"]


@pytest.mark.parametrize(
    ("call", "body"),
    [("recommendations", RecommendationQuery), ("group_recommendations", GroupQuery), ("rank", RankQuery)],
)
def test_the_client_has_every_parameter_of_the_api(call: str, body: type[BaseModel]) -> None:
    assert inspect.signature(getattr(calls_module, call)).parameters.keys() == body.model_fields.keys()


OTHER_NAMES = {"RequestPage": "LoggedRequest", "Forgetting": "Forgotten"}
NOT_OURS = {"Preview", "Drift", "PublishedScores"}  # for operators; the last two are in Scoreboard as they come


ANSWERED = {name: kind for name, kind in (vars(answers) | vars(explanations)).items() if is_typeddict(kind)}


@pytest.mark.parametrize("name", sorted(ANSWERED.keys() - NOT_OURS))
def test_the_client_has_every_field_that_the_api_answers(name: str) -> None:
    ours = getattr(freshet_client, OTHER_NAMES.get(name, name))
    assert ANSWERED[name].__annotations__.keys() <= {field.name for field in dataclasses.fields(ours)}


async def test_groups_and_onboarding() -> None:
    async with client_of(cinema()) as client:
        group = await client.group_recommendations(["ann", "h0"], strategy="least_misery", k=2)
        assert [member.user_id for member in group.members] == ["ann", "h0"]
        assert group.items[0].satisfaction.keys() == {"ann", "h0"}
        assert (await client.onboarding(k=3)).basis


async def test_lookups() -> None:
    async with client_of(cinema()) as client:
        item, user = await client.item("1"), await client.user("ann")
        assert (item.title, item.categories, item.counts and item.counts["click"]) == ("Alien", ("Horror",), 3)
        assert [(event.item_id, event.type) for event in user.history] == [("1", "view")]
        assert {place.item_id for place in (await client.similar("1", k=2, by="behaviour")).items} <= {"2", "3", "4"}
        popular = await client.popular(k=2, category="Comedy", half_life="24h")
        assert (popular.category, popular.half_life, len(popular.items)) == ("Comedy", "24h", 2)
        assert (await client.popular(context=["category=Horror", "device=phone"])).context
        assert (await client.scoreboard()).models == {}
        assert (await client.models()).versions == ()
        ranking = await client.rank(["8", "2"], user_id="ann")
        assert [item.item_id for item in ranking.items] == ["2", "8"]
        assert (await client.ready()).checks["store"]
        with pytest.raises(NotFound) as raised:
            await client.item("nothing")
    assert raised.value.problem.detail == "nothing is known of item 'nothing'"


@pytest.mark.parametrize("odd", ["a/b", "..", ".", "a b?c#d", "ü/../", "%2F", "a+b&c=d"])
async def test_ids_of_any_form_arrive_as_they_are(odd: str) -> None:
    world = World()
    world.add_item(odd, "Odd")
    async with client_of(world) as client:
        assert (await client.user(odd)).user_id == odd
        assert (await client.item(odd)).item_id == odd
        assert (await client.similar(odd)).item_id == odd


@pytest.mark.parametrize("kind", TYPE_NAMES)
async def test_every_type_of_event(kind: str) -> None:
    world = World()
    async with client_of(world) as client:
        value = (4.5,) if kind == "rating" else ()
        answer = await getattr(client.events, kind)("42", "7", *value, timestamp=NOW, request_id="r", position=3, session_id="s")
        assert answer.accepted == 1
    (record,) = world.log.records
    sent = orjson.loads(record.value)
    assert sent["event_id"]
    assert (sent["user_id"], sent["item_id"], sent["timestamp"], sent["request_id"], sent["position"]) == ("42", "7", NOW, "r", 3)
    assert record.topic == {"view": "views", "click": "clicks"}.get(kind, "feedback")


async def test_undo_and_context_and_what_the_api_rejects() -> None:
    world = World()
    async with client_of(world) as client:
        await client.events.hide("42", "7", undo=True, timestamp=NOW, context={"device": "phone"})
        answer = await client.events.send([Event("view", "1", "a", timestamp=NOW), Event("view", "", "a", timestamp=NOW)])
    assert orjson.loads(world.log.records[0].value).items() >= {"undo": True, "context": {"device": "phone"}}.items()
    assert (answer.accepted, [(one.index, one.reason) for one in answer.rejected]) == (1, [(1, "invalid")])


async def test_many_events_are_sent_in_batches_that_the_api_takes() -> None:
    world = World()
    events = [Event("view", "1", "a", timestamp=NOW, context={"x": "y" * 2000}) for _ in range(1500)]
    events[1200] = Event("view", "", "a", timestamp=NOW)
    async with client_of(world) as client:
        answer = await client.events.send(events)
    assert (answer.accepted, [one.index for one in answer.rejected]) == (1499, [1200])
    assert len(world.log.records) == 1499


async def test_both_clients_have_the_same_methods_with_the_same_signatures() -> None:
    names = [
        name
        for name, value in vars(calls_module).items()
        if inspect.isfunction(value) and value.__module__ == calls_module.__name__
    ]
    public = {name for name in names if not name.startswith("_")} - {"intake", "batches"}
    assert len(public) == 14
    for name in public:
        assert inspect.signature(getattr(Client, name)) == inspect.signature(getattr(AsyncClient, name))
        assert getattr(Client, name).__doc__
    assert {name for name in vars(EventVerbs) if name in TYPE_NAMES} == set(TYPE_NAMES)


# --- what goes over the wire


def test_paths_bodies_and_the_key() -> None:
    empty = {"request_id": "r", "items": [], "item_id": "i", "shown": False}
    with scripted(*[Reply(200, orjson.dumps(empty))] * 6) as server, Client(server.url + "/api/", key="secret") as client:
        client.rank(["a", "b"], user_id="u", context={"device": "tv"})
        client.group_recommendations(["a", "b"], strategy="least_misery", k=5, filter="not seen")
        client.onboarding(k=7)
        client.forget("a/b")
        client.request("01J")
        client.why("01J", "a&b")
        assert "secret" not in repr(client.target)
        sent = [(method, path, orjson.loads(body) if body else None) for method, path, _, body in server.requests]
        keys = {headers["authorization"] for _, _, headers, _ in server.requests}
    assert sent == [
        ("POST", "/api/v1/rank", {"user_id": "u", "items": ["a", "b"], "context": {"device": "tv"}}),
        (
            "POST",
            "/api/v1/groups/recommendations",
            {"user_ids": ["a", "b"], "strategy": "least_misery", "k": 5, "filter": "not seen"},
        ),
        ("GET", "/api/v1/onboarding?k=7", None),
        ("DELETE", "/api/v1/users/a%2Fb", None),
        ("GET", "/api/v1/requests/01J", None),
        ("GET", "/api/v1/requests/01J/why?item_id=a%26b", None),
    ]
    assert keys == {"Bearer secret"}


def test_unknown_fields_are_tolerated_and_kept() -> None:
    answer = read(Recommendations, {"request_id": "r", "items": [{"item_id": "a", "rank": 1, "new": 2}], "brand_new": {"x": 1}})
    assert answer.raw["brand_new"] == {"x": 1}
    assert answer.items[0].raw["new"] == 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "Recommendations.request_id: is missing"),
        ({"request_id": 7, "items": []}, "Recommendations.request_id: expected str, found 7"),
        ({"request_id": "r", "items": {}}, "Recommendations.items: expected a list, found {}"),
        ({"request_id": "r", "items": [{"item_id": "a", "rank": True}]}, "Recommendations.items[0].rank: expected int, found True"),
        ([], "Recommendations: expected an object, found []"),
    ],
)
def test_answers_that_are_none_are_named(document: object, message: str) -> None:
    with pytest.raises(InvalidAnswer) as raised:
        read(Recommendations, document)
    assert str(raised.value) == message


def test_null_counts_are_none() -> None:
    assert read(UserPage, {"user_id": "u", "counts": None, "degraded": "store_unavailable"}).counts is None


def test_events_have_an_id_and_a_time_from_the_start() -> None:
    event = Event("click", "1", "a")
    assert event.fields() == event.fields()
    assert len(event.event_id) == 32
    assert Event("click", "1", "a").event_id != event.event_id
    noon = datetime(2026, 1, 1, 10, tzinfo=timezone(timedelta(hours=1)))
    assert Event("click", "1", "a", timestamp=noon).fields()["timestamp"] == NOW
    for wrong in (noon.replace(tzinfo=None), "half \ud800"):
        with pytest.raises(ValueError, match=r"zone|surrogates"):
            Event("click", "1", "a", timestamp=wrong).encoded()
    with pytest.raises(ValueError, match="JSON"):
        Event("rating", "1", "a", value=float("nan")).encoded()


def test_importing_the_client_needs_httpx_and_nothing_else_of_ours() -> None:
    heavy = "numpy, redis, fastapi, pydantic, orjson, schemas, serving"
    text = f"import sys, freshet_client\nassert not {{*'{heavy}'.split(', ')}} & sys.modules.keys(), sorted(sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
