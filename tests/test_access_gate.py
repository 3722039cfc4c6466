"""Who may do what: every route and every role, and what people try who may not."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Mount

from serving.access.doors import Doors
from serving.access.roles import NEEDS, Role, entry, need_of
from tests.access_world import ADMIN, READER, WRITER, app_of, ask, bearer, scope_of, settings_with, with_keys
from tests.test_serving_world import cinema

ROLES = {WRITER: Role.EVENTS_WRITE, READER: Role.RECOMMEND_READ, ADMIN: Role.ADMIN}
EVENT = b'{"type": "click", "user_id": "ann", "item_id": "5"}'


def calls(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route of the app."""
    return [(method, door.path_format) for door in Doors(app.routes).doors for method in sorted(door.methods or {"GET"})]


def test_every_route_of_the_app_has_an_entry_of_its_own() -> None:
    app = app_of(settings_with())
    found = calls(app)
    assert ("GET", "/v1/users/{user_id}/recommendations") in found
    missing = sorted({entry(*call) for call in found} - NEEDS.keys())
    assert missing == [], "decide in serving/access/roles.py who may call these"
    documented = {entry(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    assert documented <= NEEDS.keys()


def test_a_route_without_an_entry_needs_admin() -> None:
    app = app_of(settings_with())
    app.add_api_route("/v1/fresh/{name}", lambda: None)
    assert [call for call in calls(app) if entry(*call) not in NEEDS] == [("GET", "/v1/fresh/{name}")]
    assert need_of("GET", "/v1/fresh/{name}") is Role.ADMIN


@pytest.mark.parametrize("key", [WRITER, READER, ADMIN])
async def test_every_route_lets_in_exactly_the_roles_of_the_table(key: str) -> None:
    app = app_of(with_keys())
    for method, path in calls(app):
        need = need_of(method, path)
        answer = await ask(app, method, path.replace("{", "").replace("}", ""), bearer(key))
        if need is None or ROLES[key] in {need, Role.ADMIN}:
            assert answer.status not in {401, 403, 405, 429, 500}, (method, path)
        else:
            assert answer.status == 403, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{need}"'
            assert answer.json()["status"] == 403
            assert str(need) in answer.json()["detail"]


async def test_without_a_key_only_what_is_open_answers() -> None:
    app = app_of(with_keys())
    opened = {path for method, path in calls(app) if (await ask(app, method, path)).status != 401}
    assert opened == {"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}
    answer = await ask(app, "GET", "/v1/popular")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Unauthorized"


async def test_without_keys_nothing_is_asked_for() -> None:
    app = app_of(settings_with())
    for headers in ((), bearer("whatever"), [(b"authorization", b"\xff\x00")]):
        assert (await ask(app, "GET", "/v1/users/ann", headers)).status == 200


@pytest.mark.parametrize(
    "values",
    [
        [b""], [b"Bearer"], [b"Bearer "], [b"Bearer  "], [b"bearer"], [READER.encode()], [b"Basic " + READER.encode()],
        [b"Bearer" + READER.encode()], [b"Bearer\t" + READER.encode()], [b"Token " + READER.encode()], [b"\xff\xfe\x00\x01" * 50],
        [b'Bearer "' + READER.encode() + b'"'], [b"Bearer " + READER.encode() + b" x"], [b"Bearer x " + READER.encode()],
        [b"Bearer " + READER.encode() + b"\xc3\xa9"], [b"Bearer " + READER.upper().encode()], [b"Bearer " + READER.encode()[:-1]],
        [b"Bearer " + READER.encode() + b"\x00"], [b"Bearer " + READER.encode() + b"," + ADMIN.encode()],
        [b"Bearer " + READER.encode() + b"=recommend:read"], ["Bearer \uff52eader-0123456789".encode()],
        [b"Bearer " + b"k" * 30_000], [b"Bearer " + READER.encode()] * 2,
        [b"Bearer " + READER.encode(), b"Bearer " + ADMIN.encode()],
        [b"Bearer wrong", b"Bearer " + READER.encode()], [b"Bearer ../../etc/passwd"], [b"Bearer null"], [b"Bearer {}"],
    ],
)  # fmt: skip
async def test_what_is_no_single_known_key_is_unauthorized(values: list[bytes]) -> None:
    app = app_of(with_keys())
    answer = await ask(app, "GET", "/v1/popular", [(b"authorization", value) for value in values])
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert b"k" * 50 not in answer.body
    assert READER.encode() not in answer.body


@pytest.mark.parametrize("value", ["Bearer KEY", "bearer KEY", "BEARER KEY", "Bearer   KEY", "Bearer KEY  "])
async def test_the_scheme_may_be_written_as_rfc_6750_allows(value: str) -> None:
    answer = await ask(app_of(with_keys()), "GET", "/v1/popular", [(b"authorization", value.replace("KEY", READER).encode())])
    assert answer.status == 200


@pytest.mark.parametrize("place", ["?access_token={0}", "?api_key={0}", "?Authorization=Bearer%20{0}"])
async def test_a_key_in_the_address_counts_for_nothing(place: str) -> None:
    assert (await ask(app_of(with_keys()), "GET", "/v1/popular" + place.format(ADMIN))).status == 401


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/users/ann", 403),
        ("/v1/users/ann/recommendations/..", 403),
        ("/v1/users/ann/recommendations/../", 403),
        ("/v1/users/ann/recommendations/%2e%2e", 403),
        ("/v1/users/ann/recommendations%2f..", 403),
        ("/v1/users/ann/recommendations/", 403),
        ("/v1/users/ann%3f/recommendations%20", 403),
        ("/v1/users//", 403),
        ("/v1/items/../users/ann", 404),
        ("/v1/items/%2e%2e/users/ann", 404),
        ("/v1/items/..%2fusers%2fann", 404),
        ("/v1/popular/../users/ann", 404),
        ("/healthz/../v1/users/ann", 404),
        ("/docs/%2e%2e/v1/users/ann", 404),
        ("//v1/users/ann", 404),
        ("/V1/users/ann", 404),
        ("/v1%2fusers%2fann", 403),
        ("/v1/users/%252e%252e/recommendations%252f", 403),
        ("/v1/requests/x/../../users/ann/recommendations", 404),
        ("/v1/users/a/../../requests/x/recommendations", 200),  # recommendations of a user with an odd id
        ("/v1/users/a%2frecommendations", 200),  # decodes to the recommendations of a
        ("/v1/users/ann/recommendations;/../", 403),
        ("/v1/surfaces/preview", 405),
    ],
)
async def test_no_path_gets_a_reader_to_a_persons_page(target: str, status: int) -> None:
    answer = await ask(app_of(with_keys()), "GET", target, bearer(READER))
    assert answer.status == status
    assert b'"history"' not in answer.body


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("HEAD", "/v1/users/ann", 405), ("OPTIONS", "/v1/users/ann", 405), ("OPTIONS", "/v1/users/ann/recommendations", 405),
        ("PATCH", "/v1/events", 405), ("GET", "/v1/events", 405), ("INVENTED", "/v1/popular", 405), ("get", "/v1/users/ann", 405),
        ("HEAD", "/openapi.json", 200), ("HEAD", "/healthz", 405), ("TRACE", "/", 404), ("POST", "/v1/events", 403),
    ],
)  # fmt: skip
async def test_no_method_gets_a_reader_further(method: str, target: str, status: int) -> None:
    answer = await ask(app_of(with_keys()), method, target, bearer(READER), EVENT)
    assert answer.status == status
    assert (answer.headers.get("allow") is not None) == (status == 405)


async def test_a_header_that_names_another_method_or_path_changes_nothing() -> None:
    tricks = [
        (b"x-http-method-override", b"POST"), (b"x-original-url", b"/healthz"), (b"x-rewrite-url", b"/healthz"),
        (b"x-forwarded-prefix", b"/docs"), (b"forwarded", b"for=127.0.0.1"), (b"x-forwarded-for", b"127.0.0.1"),
    ]  # fmt: skip
    for key, status in ((bearer(READER), 403), ([], 401)):
        assert (await ask(app_of(with_keys()), "GET", "/v1/users/ann", [*tricks, *key])).status == status


async def test_a_refused_event_is_not_written_and_its_body_not_read() -> None:
    world = cinema()
    app = app_of(with_keys(), world)
    for headers, status in (((), 401), (bearer("nobody-knows-this-key"), 401), (bearer(READER), 403), (bearer(WRITER), 202)):
        body = EVENT if status == 202 else b"{ not even JSON"
        assert (await ask(app, "POST", "/v1/events", headers, body)).status == status
    assert len(world.log.records) == 1


async def test_a_route_that_nobody_thought_of_is_shut() -> None:
    app = app_of(with_keys())

    async def leak() -> dict[str, str]:
        return {"user": "ann"}

    app.add_api_route("/v1/leak", leak)
    app.routes.append(Mount("/v1/mounted", app=FastAPI()))
    for target in ("/v1/leak", "/v1/mounted/docs"):
        assert [(await ask(app, "GET", target, bearer(key))).status for key in (READER, WRITER)] == [403, 403]
    assert (await ask(app, "GET", "/v1/leak", bearer(ADMIN))).json() == {"user": "ann"}


async def test_refusals_are_counted_under_their_route_and_reason() -> None:
    world = cinema()
    services = world.services(with_keys())
    async with world.client(with_keys(), services) as client:
        await client.get("/v1/users/ann")
        await client.get("/v1/users/ann", headers={"Authorization": "Bearer nobody-knows-this-key"})
        await client.get("/v1/users/ann", headers={"Authorization": f"Bearer {READER}"})
        await client.get("/v1/nothing", headers={"Authorization": f"Bearer {READER}"})
    count = services.metrics.registry.get_sample_value
    for reason in ("no_key", "unknown_key", "missing_role", "no_route"):
        assert count("freshet_refused_total", {"reason": reason}) == 1, reason
    labels = {"route": "/v1/users/{user_id}", "method": "GET"}
    assert count("freshet_requests_total", {**labels, "status": "401"}) == 2
    assert count("freshet_requests_total", {**labels, "status": "403"}) == 1
    assert count("freshet_requests_total", {"route": "unmatched", "method": "GET", "status": "404"}) == 1


async def test_a_websocket_is_closed_at_the_gate() -> None:
    app, sent = app_of(with_keys()), []
    scope = scope_of("GET", "/v1/popular", bearer(ADMIN)) | {"type": "websocket", "subprotocols": []}

    async def send(message: object) -> None:
        sent.append(message)

    await app(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


PARTS = [
    "v1", "users", "items", "requests", "popular", "recommendations", "similar", "why", "healthz", "docs", "events", "models", "a",
    "metrics", "preview", "surfaces", "..", ".", "", "%2e%2e", "%2f", "a%2fb", "%0a", "%00", "\n", "?", ";", "é", "%ff",
]  # fmt: skip
TARGETS = st.lists(st.sampled_from(PARTS), min_size=0, max_size=6).map(lambda parts: "/" + "/".join(parts))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["GET", "POST", "HEAD", "DELETE", "OPTIONS"]), TARGETS | st.text(max_size=20).map("/v1/".__add__))
def test_the_gate_and_the_router_mean_the_same_route(method: str, target: str) -> None:
    """The router of an app without a gate chooses by itself; what the gate would have asked for is for that very route."""
    answer = asyncio.run(ask(OPEN, method, target))
    scope = answer.scope
    found = OPEN_DOORS.find(method, scope["path"])
    chosen = scope.get("endpoint")
    if found.route is not None:
        assert chosen is found.route.endpoint  # type: ignore[attr-defined]
    elif chosen is not None:  # the router only says which methods there are
        assert found.allowed
        assert method not in found.allowed
        assert answer.status == 405


OPEN = app_of(settings_with())
OPEN_DOORS = Doors(OPEN.routes)
