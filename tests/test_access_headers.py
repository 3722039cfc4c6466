"""What every answer says to browsers, who may call from a page, how large a request may be, and what OpenAPI tells of all that."""

from __future__ import annotations

import logging
import re

import pytest

from schemas.errors import InvalidSettings
from schemas.settings import Settings
from serving.access.roles import need_of
from serving.app import create_app
from serving.edge import MAX_ADDRESS_BYTES, MAX_HEADER_BYTES, MAX_HEADERS
from tests.access_world import ADMIN, READER, Headers, app_of, ask, bearer, settings_with, with_keys
from tests.test_serving_world import cinema

ALWAYS = {
    "x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer", "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}  # fmt: skip
SHOP = "https://shop.example"


# --- headers of answers


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/users/ann/recommendations", 200), ("GET", "/v1/users/ann", 200), ("GET", "/healthz", 200),
        ("GET", "/openapi.json", 200), ("GET", "/docs", 200), ("GET", "/nothing", 404), ("PUT", "/v1/popular", 405),
        ("GET", "/v1/popular?k=0", 422), ("GET", "/metrics", 200), ("GET", "/v1/popular/", 307),
    ],
)  # fmt: skip
async def test_every_answer_has_the_headers(method: str, target: str, status: int) -> None:
    answer = await ask(app_of(settings_with()), method, target)
    assert answer.status == status
    assert answer.headers.items() >= ALWAYS.items()
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert ("script-src" in answer.headers["content-security-policy"]) == (target == "/docs")


async def test_refusals_and_failures_have_them_too_and_the_log_names_no_user(caplog: pytest.LogCaptureFixture) -> None:
    services = cinema().services(with_keys())
    services.recommender.recommend = None  # type: ignore[method-assign, assignment]
    app = create_app(with_keys(), services)
    with caplog.at_level(logging.INFO):
        refused = await ask(app, "GET", "/v1/users/somebody/recommendations")
        failed = await ask(app, "GET", "/v1/users/somebody/recommendations", bearer(READER))
    for answer, status in ((refused, 401), (failed, 500)):
        assert answer.status == status
        assert answer.headers.items() >= ALWAYS.items()
    assert "GET /v1/users/{user_id}/recommendations failed: TypeError" in caplog.text
    assert "somebody" not in caplog.text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
async def test_the_pages_may_load_what_they_ask_for(path: str) -> None:
    answer = await ask(app_of(with_keys()), "GET", path)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    tags = re.findall(r"<(?:script|link|img)[^>]*https://[^>]*>", answer.body.decode())
    assert bool(tags) == (path != "/docs/oauth2-redirect")
    for tag in tags:
        kind = "script-src" if tag.startswith("<script") else "style-src" if "stylesheet" in tag else "img-src"
        assert re.findall(r'https://[^/"]+', tag)[0] in policy[kind].split(), tag
    assert "'unsafe-inline'" in policy["script-src"]
    assert policy["connect-src"] == "'self'", "so that /docs reads /openapi.json and calls this API alone"


# --- pages of others


def preflight(origin: str, method: str = "GET", asked: str = "authorization") -> Headers:
    told = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": asked}
    return [(name.encode(), value.encode()) for name, value in told.items()]


async def test_no_other_page_may_call_unless_told() -> None:
    for settings in (settings_with(), with_keys()):
        answer = await ask(app_of(settings), "OPTIONS", "/v1/popular", preflight(SHOP))
        assert answer.status in {401, 405}
        assert not any(name.startswith("access-control") for name in answer.headers)
        answer = await ask(app_of(settings), "GET", "/v1/popular", [(b"origin", SHOP.encode()), *bearer(READER)])
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_pages_of_the_named_origins_may_call_with_a_key() -> None:
    app = app_of(with_keys(cors_origins=f"{SHOP}, http://localhost:3000", rate_limit=1))
    asked = await ask(app, "OPTIONS", "/v1/popular", preflight(SHOP))
    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == SHOP
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in asked.headers
    answer = await ask(app, "GET", "/v1/popular", [(b"origin", SHOP.encode()), *bearer(READER)])
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, SHOP)
    assert "RateLimit-Remaining" in answer.headers["access-control-expose-headers"]
    refused = await ask(app, "GET", "/v1/popular", [(b"origin", SHOP.encode())])
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, SHOP), "its page may read why"


@pytest.mark.parametrize(
    "origin", ["https://shop.example.evil", "http://shop.example", "https://shop.example:8443", "null", "https://evil", "*", ""]
)
async def test_pages_of_other_origins_may_not(origin: str) -> None:
    app = app_of(with_keys(cors_origins=SHOP))
    asked = await ask(app, "OPTIONS", "/v1/popular", preflight(origin))
    assert asked.status == 400
    assert "access-control-allow-origin" not in asked.headers
    answer = await ask(app, "GET", "/v1/popular", [(b"origin", origin.encode()), *bearer(READER)])
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("value", ["*", "https://*.shop.example", "shop.example", "https://shop.example/", "null", "https://a b"])
def test_an_origin_that_is_not_exact_stops_the_start(value: str) -> None:
    with pytest.raises(InvalidSettings, match="exact origins, such as"):
        Settings.from_environment({"FRESHET_CORS_ORIGINS": value})


# --- an open API and the browser beside it


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({}, 202),  # a program
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"}, 202),  # /docs
        ({"sec-fetch-site": "none"}, 202),
        ({"origin": "http://localhost:8000"}, 202),  # an old browser
        ({"sec-fetch-site": "cross-site", "origin": SHOP}, 202),  # named in the settings
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost:9999"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:8000.evil.example"}, 403),
    ],
)
async def test_no_strange_page_writes_to_an_open_api(told: dict[str, str], status: int) -> None:
    world = cinema()
    app = app_of(settings_with(cors_origins=SHOP), world)
    headers = [
        (name.encode(), value.encode()) for name, value in {"host": "localhost:8000", "content-type": "text/plain", **told}.items()
    ]
    answer = await ask(app, "POST", "/v1/events", headers, b'{"type": "click", "user_id": "ann", "item_id": "5"}')
    assert answer.status == status
    assert len(world.log.records) == (status == 202)
    if status == 403:
        assert "FRESHET_CORS_ORIGINS" in answer.json()["detail"]
    assert (await ask(app, "GET", "/v1/popular", headers)).status == 200, "what only reads is the browser's business"


async def test_with_keys_the_key_is_enough_wherever_the_page_is_from() -> None:
    headers = [(b"sec-fetch-site", b"cross-site"), (b"origin", b"https://evil.example"), *bearer(ADMIN)]
    assert (await ask(app_of(with_keys()), "POST", "/v1/recommendations", headers, b"{}")).status in {200, 422}


# --- sizes


async def test_requests_that_are_too_large_are_refused_before_anything_else() -> None:
    app = app_of(settings_with())
    many = [(b"x-%d" % n, b"") for n in range(MAX_HEADERS + 1)]
    for target, headers, status in (
        ("/v1/popular", many[:-1], 200),
        ("/v1/popular", many, 431),
        ("/v1/popular", [(b"cookie", b"x" * (MAX_HEADER_BYTES - 6))], 200),
        ("/v1/popular", [(b"cookie", b"x" * MAX_HEADER_BYTES)], 431),
        ("/v1/popular", [(b"authorization", b"Bearer " + b"x" * 10**6)], 431),
        ("/v1/popular?x=" + "x" * (MAX_ADDRESS_BYTES - 13), [], 200),
        ("/v1/popular?x=" + "x" * (MAX_ADDRESS_BYTES - 12), [], 414),
        ("/v1/users/" + "x" * MAX_ADDRESS_BYTES, [], 414),
        ("/v1/users/" + "x" * 257, [], 422),
        ("/v1/popular", [(b"content-length", b"9" * 5000)], 413),
        ("/v1/popular", [(b"content-length", b"-1")], 200),
    ):
        answer = await ask(app, "GET", target, headers)
        assert answer.status == status, (target[:40], len(headers))
        assert answer.headers.items() >= ALWAYS.items()
        assert answer.headers["content-type"] == ("application/json" if status == 200 else "application/problem+json")


async def test_the_longest_filter_that_is_allowed_fits_into_an_address() -> None:
    text = '"' + "€" * 1980 + '" in tags'
    target = "/v1/users/ann/recommendations?filter=" + "".join(f"%{byte:02X}" for byte in text.encode())
    assert (await ask(app_of(settings_with()), "GET", target)).status == 200


# --- what OpenAPI tells


async def test_openapi_tells_roles_and_refusals() -> None:
    for settings, optional in ((with_keys(), False), (settings_with(), True)):
        app = app_of(settings)
        document = (await ask(app, "GET", "/openapi.json")).json()
        assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
        operations = [(path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()]
        for path, method, operation in operations:
            need = need_of(method.upper(), path)
            if need is None:
                assert "security" not in operation
                continue
            assert operation["security"] == [{"key": [need.value]}, *([{}] if optional else [])]
            assert {"401", "403", "429"} <= operation["responses"].keys()
            assert "Retry-After" in operation["responses"]["429"]["headers"]
        assert len(operations) > 8
        assert (await ask(app, "GET", "/openapi.json", bearer(ADMIN))).json() == document, "made once, the same again"
