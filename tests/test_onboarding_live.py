"""Somebody new, with real servers: asked three questions, served by a session before and after the login, and with a friend."""

from __future__ import annotations

import time
from typing import Any

import httpx
import orjson
import pytest

from tests.live import Live, event, wait_until
from tests.test_blend_live import COMEDY, HORROR, ids, learnt, listed, two_tastes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def api(live: Live) -> str:
    """An API and a worker that has learnt what people with two tastes took."""
    worker = live.worker(wait=False, scoreboard_sample=1)
    wait_until(lambda: live.is_ready(worker), 180, "the worker to be ready, kernels compiled")
    titled = {item: {"item_id": item, "title": f"Film {item}", "categories": ["Horror"]} for item in HORROR}
    titled |= {item: {"item_id": item, "title": f"Film {item}", "categories": ["Comedy"]} for item in COMEDY}
    live.produce([("items", item, orjson.dumps(record)) for item, record in titled.items()])
    events, now = two_tastes(), int(time.time() * 1000)
    live.produce([("clicks", user, event(user, item, now - 10 * (len(events) - n))) for n, (user, item) in enumerate(events)])
    url = live.api()
    wait_until(lambda: learnt(listed(url, "nobody")) == len(events), 120, "the API to rank with all that happened")
    return url


def posted(url: str, path: str, body: Any, status: int = 200) -> dict[str, Any]:
    answer = httpx.post(url + path, json=body, timeout=10)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def like(url: str, user: str, items: list[str]) -> None:
    """What the client of a newcomer sends when they have answered."""
    answer = posted(url, "/v1/events", [{"type": "like", "user_id": user, "item_id": item} for item in items], 202)
    assert answer == {"accepted": len(items), "rejected": []}


def comedies(answer: dict[str, Any]) -> int:
    return len(set(ids(answer)) & set(COMEDY))


def test_three_answers_make_a_newcomers_list(api: str) -> None:
    def asked() -> dict[str, Any]:
        return dict(httpx.get(f"{api}/v1/onboarding", params={"k": 10}, timeout=10).json())

    wait_until(lambda: asked()["basis"] == "models", 10, "the questions to go by what was learnt")
    questions = asked()
    assert questions["degraded"] is None
    kinds = [item["categories"][0] for item in questions["items"]]
    assert {kinds.count("Horror"), kinds.count("Comedy")} == {5}
    liked = [item["item_id"] for item in questions["items"] if item["categories"] == ["Comedy"]][:3]
    before = listed(api, "newcomer")
    assert before["degraded"] == "unknown_user"
    like(api, "newcomer", liked)
    wait_until(lambda: comedies(listed(api, "newcomer")) >= 8 > comedies(before), 10, "the answers to count")
    after = listed(api, "newcomer")
    assert after["degraded"] is None
    assert not set(liked) & set(ids(after))


def test_a_session_is_served_before_and_after_the_login(api: str, live: Live) -> None:
    like(api, "session:s-17", COMEDY[:3])
    asking = {"session_id": "s-17", "k": 10}
    wait_until(lambda: comedies(posted(api, "/v1/recommendations", asking)) >= 8, 10, "the session's events to count")
    visit = posted(api, "/v1/recommendations", asking)
    assert (visit["user_id"], visit["degraded"]) == (None, None)
    live.produce([("clicks", "tom", event("tom", item, int(time.time() * 1000) - 60_000)) for item in HORROR[:3]])
    wait_until(lambda: comedies(listed(api, "tom")) <= 2, 10, "what the user did before")
    logged_in = httpx.get(f"{api}/v1/users/tom/recommendations", params={"session_id": "s-17", "k": 77}, timeout=10).json()
    assert not {*COMEDY[:3], *HORROR[:3]} & set(ids(logged_in))
    first = httpx.get(f"{api}/v1/users/tom/recommendations", params={"session_id": "s-17"}, timeout=10).json()
    assert comedies(first) > comedies(listed(api, "tom"))


def test_two_people_get_one_list(api: str, live: Live) -> None:
    like(api, "carla", COMEDY[:3])
    like(api, "hugo", HORROR[:3])
    wait_until(lambda: comedies(listed(api, "carla")) >= 8 and comedies(listed(api, "hugo")) <= 2, 10, "both to be known")
    body = {"user_ids": ["carla", "hugo"], "strategy": "least_misery", "k": 10}
    answer = posted(api, "/v1/groups/recommendations", body)
    assert answer["degraded"] is None
    assert len(set(ids(answer))) == 10
    assert all(item["score"] == min(item["satisfaction"].values()) for item in answer["items"])
    first = ids(answer)[0]
    live.produce([("feedback", "hugo", event("hugo", first, int(time.time() * 1000), type="hide"))])
    wait_until(lambda: first not in ids(posted(api, "/v1/groups/recommendations", body)), 10, "what one hid to go")
