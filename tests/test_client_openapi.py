"""What `/openapi.json` promises to whoever writes a client: examples that are right, statuses that are named."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter

from schemas.errors import StoreUnavailable
from serving.app import create_app
from serving.openapi_examples import ANSWERS, EVENTS
from tests.test_serving_world import SETTINGS, World, cinema

APP = create_app(SETTINGS, World().services())
DOCUMENT: dict[str, Any] = APP.openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
}
FORMS = {
    f"{method} {context.path_format}": context.original_route.response_model
    for context in iter_route_contexts(APP.routes)
    if isinstance(context.original_route, APIRoute)
    for method in context.original_route.methods
}
NO_JSON = {"GET /metrics"}


def test_every_answer_has_an_example() -> None:
    assert ANSWERS.keys() == OPERATIONS.keys() - NO_JSON


@pytest.mark.parametrize("call", sorted(ANSWERS))
def test_the_example_has_the_form_of_the_answer(call: str) -> None:
    shown = [one for status, one in OPERATIONS[call]["responses"].items() if status[0] == "2"]
    assert [one["content"]["application/json"]["example"] for one in shown] == [ANSWERS[call]]
    form = FORMS[call]
    if form is not None:
        known = TypeAdapter(form).validate_python(ANSWERS[call])
        if not call.startswith("GET /v1/items/{item_id}"):  # an item has whatever its catalogue record says
            assert known.keys() == ANSWERS[call].keys()


@pytest.mark.parametrize("call", [name for name, operation in OPERATIONS.items() if "requestBody" in operation])
def test_every_body_has_an_example(call: str) -> None:
    assert '"example' in TypeAdapter(dict[str, Any]).dump_json(_resolved(OPERATIONS[call]["requestBody"])).decode()


@pytest.mark.parametrize("name", EVENTS)
async def test_examples_of_events_are_taken(name: str) -> None:
    async with cinema().client() as client:
        answer = await client.post("/v1/events", json=EVENTS[name]["value"])
        assert (answer.status_code, answer.json()["rejected"]) == (202, [])


ODD = [
    ("GET", "/v1/items/{item_id}", "/v1/items/nothing", None), ("GET", "/v1/items/{item_id}/similar", "/v1/items/x/similar", None),
    ("GET", "/v1/users/{user_id}", "/v1/users/%00", None), ("GET", "/v1/popular", "/v1/popular?k=0", None),
    ("POST", "/v1/events", "/v1/events", {}), ("POST", "/v1/events", "/v1/events", [7]),
    ("POST", "/v1/recommendations", "/v1/recommendations", {"k": "x"}),
    ("POST", "/v1/groups/recommendations", "/v1/groups/recommendations", {"user_ids": []}),
    ("GET", "/v1/requests/{request_id}", "/v1/requests/x", None),
    ("GET", "/v1/requests/{request_id}", f"/v1/requests/{'0' * 26}", None),
    ("GET", "/v1/onboarding", "/v1/onboarding?k=x", None), ("DELETE", "/v1/users/{user_id}", "/v1/users/ann", None),
    ("GET", "/readyz", "/readyz", None),
]  # fmt: skip


@pytest.mark.parametrize("away", [False, True], ids=["", "without Kafka and the store"])
@pytest.mark.parametrize(("method", "path", "url", "body"), ODD, ids=lambda value: str(value)[:30])
async def test_every_status_is_documented(method: str, path: str, url: str, body: object, away: bool) -> None:
    world = cinema()
    if away:
        world.log.connected, world.store.fault = False, StoreUnavailable("away")
    async with world.client() as client:
        answer: httpx.Response = await client.request(method, url, json=body)
    assert str(answer.status_code) in OPERATIONS[f"{method} {path}"]["responses"]


def _resolved(node: Any, seen: tuple[str, ...] = ()) -> Any:
    """The node with the schemas that it refers to put in."""
    if isinstance(node, list):
        return [_resolved(one, seen) for one in node]
    if not isinstance(node, dict):
        return node
    target = node.get("$ref")
    if isinstance(target, str) and target not in seen:
        return _resolved(DOCUMENT["components"]["schemas"][target.rsplit("/", 1)[1]], (*seen, target))
    return {name: _resolved(one, seen) for name, one in node.items()}
