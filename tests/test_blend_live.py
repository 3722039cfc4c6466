"""The blend from the log to the list, with real servers: learnt in the worker, followed and ranked with in the API."""

from __future__ import annotations

import time
from typing import Any

import httpx
import numpy as np
import pytest

from tests.live import Live, event, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
HORROR, COMEDY = [f"h{n}" for n in range(40)], [f"c{n}" for n in range(40)]


def two_tastes(users: int = 60, each: int = 20) -> list[tuple[str, str]]:
    """Who takes what: half of the people only horror, half only comedies."""
    rng = np.random.default_rng(5)
    taken = {f"fan{u}": rng.permutation(HORROR if u % 2 else COMEDY)[:each].tolist() for u in range(users)}
    return [(user, items[n]) for n in range(each) for user, items in taken.items()]


def get(url: str, path: str) -> dict[str, Any]:
    answer = httpx.get(f"{url}{path}", timeout=10)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def listed(url: str, user: str) -> dict[str, Any]:
    return get(url, f"/v1/users/{user}/recommendations")


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def learnt(answer: dict[str, Any]) -> int:
    name, _, events = answer["models"]["blend"].partition("@")
    return int(events) if name == "blend" else 0


def test_the_blend_follows_every_click(live: Live) -> None:
    worker = live.worker(wait=False, scoreboard_sample=1)
    wait_until(lambda: live.is_ready(worker), 180, "the worker to be ready, kernels compiled")
    url = live.api()
    assert get(url, "/v1/scoreboard")["degraded"] == "nothing_ranked_yet"
    events = two_tastes()
    now = int(time.time() * 1000)
    live.produce([("clicks", user, event(user, item, now - 10 * (len(events) - n))) for n, (user, item) in enumerate(events)])
    wait_until(lambda: learnt(listed(url, "ann")) == len(events), 120, "the API to rank with all that happened")

    live.produce([("clicks", "ann", event("ann", item, int(time.time() * 1000))) for item in ("h1", "h2", "h3")])
    wait_until(lambda: len(set(ids(listed(url, "ann"))) & set(HORROR)) >= 8, 5, "Ann's clicks to count")
    answer = listed(url, "ann")
    assert answer["degraded"] is None
    assert not {"h1", "h2", "h3"} & set(ids(answer))

    live.produce([("clicks", f"fan{n}", event(f"fan{n}", "premiere", int(time.time() * 1000))) for n in range(40)])
    acknowledged = time.monotonic()
    wait_until(lambda: "premiere" in ids(listed(url, "somebody new")), 10, "what many take now to be shown")
    assert time.monotonic() - acknowledged < 5  # about a second where nothing else runs

    board = wait_until(lambda: (b := get(url, "/v1/scoreboard"))["events"] >= len(events) and b, 10, "the scoreboard")
    assert board["degraded"] is None
    assert 0 < board["models"]["blend"]["rolling"]["recall@10"] <= 1
    metrics = httpx.get(f"{url}/metrics").text
    assert 'freshet_scoreboard{metric="recall@10",model="blend",window="rolling"}' in metrics
    assert "freshet_replica_faults 0.0" in metrics
