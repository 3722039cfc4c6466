"""Promise 6: the API always answers. Real servers, taken away one after the other."""

from __future__ import annotations

import time

import httpx
import orjson
import pytest

from tests.live import Live, event, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROUTES = [
    "/v1/users/someone/recommendations",
    "/v1/users/someone/recommendations?k=200&session_id=s&surface=home&explain=true",
    "/v1/users/someone",
    "/v1/popular",
    "/v1/popular?half_life=1h",
    "/v1/popular?window=24h&category=Horror",
    "/v1/items/i1",
    "/v1/items/i1/similar",
    "/v1/scoreboard",
    "/metrics",
    "/healthz",
]


def expect_answers(url: str) -> None:
    """Every route answers, none with a 5xx."""
    for route in ROUTES:
        answer = httpx.get(url + route, timeout=5)
        assert answer.status_code in {200, 404}, (route, answer.status_code, answer.text)
    asked = httpx.post(f"{url}/v1/recommendations", json={"recent_items": ["i1"], "k": 5}, timeout=5)
    assert asked.status_code == 200, asked.text


def recommendation(url: str, user: str = "someone") -> dict[str, object]:
    answer = httpx.get(f"{url}/v1/users/{user}/recommendations", timeout=5)
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    assert {"request_id", "user_id", "items", "models", "freshness", "degraded"} <= body.keys()
    return body


@pytest.fixture(scope="module")
def api(live: Live) -> str:
    """An API beside empty servers; no worker."""
    return live.api()


def test_without_a_worker_and_without_any_event(api: str) -> None:
    expect_answers(api)
    assert recommendation(api)["degraded"] == "no_events"


def test_an_unknown_user_gets_what_is_popular(live: Live, api: str) -> None:
    now = int(time.time() * 1000)
    live.produce([("items", f"i{n}", orjson.dumps({"item_id": f"i{n}", "title": f"Film {n}"})) for n in range(20)])
    live.produce([("clicks", f"u{n % 40}", event(f"u{n % 40}", f"i{n % 7}", now - 1000 + n)) for n in range(120)])
    worker = live.worker()
    live.settle()
    wait_until(lambda: recommendation(api)["degraded"] == "unknown_user", 20, "trending items to arrive in the API")
    assert len(recommendation(api)["items"]) == 10  # type: ignore[arg-type]
    live.stop(worker)
    assert recommendation(api, "u1")["degraded"] is None, "the state stays when the worker goes"


def test_redis_goes_and_comes_back(live: Live, api: str) -> None:
    live.servers.stop_redis(kill=True)
    try:
        for _ in range(5):
            expect_answers(api)
            degraded = recommendation(api, "u1")
            assert degraded["degraded"] == "store_unavailable"
            assert degraded["items"], "trending from the API's memory"
    finally:
        live.servers.start_redis()
    wait_until(lambda: recommendation(api, "u1")["degraded"] is None, 30, "the API to find Redis again")


def test_an_api_started_without_redis_answers(live: Live) -> None:
    url = live.api(wait=False, redis="redis://127.0.0.1:1/0")
    expect_answers(url)
    assert recommendation(url)["degraded"] == "store_unavailable"
    assert httpx.get(f"{url}/readyz").status_code == 503


def test_kafka_goes_and_comes_back(live: Live, api: str) -> None:
    click = {"type": "click", "user_id": "u1", "item_id": "i3"}
    live.servers.stop_kafka(kill=True)
    try:
        assert recommendation(api, "u1")["items"]
        refused = httpx.post(f"{api}/v1/events", json=click, timeout=30)
        assert refused.status_code == 503
        assert refused.headers["content-type"].startswith("application/problem+json")
        assert "retry-after" in refused.headers
    finally:
        live.servers.start_kafka()
    wait_until(lambda: httpx.post(f"{api}/v1/events", json=click, timeout=30).status_code == 202, 60, "the API to find Kafka again")
