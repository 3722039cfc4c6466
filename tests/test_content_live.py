"""From the catalogue's topic to similar items, with real servers: found within a second of the event, gone with its deletion."""

from __future__ import annotations

import time
from typing import Any

import httpx
import orjson
import pytest

from tests.live import Live, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def record(item: str, title: str | None) -> tuple[str, str, Any]:
    return "items", item, orjson.dumps({"item_id": item, "title": title, "categories": ["Horror"]}) if title else None


def alike(url: str, item: str) -> list[str]:
    answer = httpx.get(f"{url}/v1/items/{item}/similar", params={"by": "content"}, timeout=10)
    return [one["item_id"] for one in answer.json()["items"]] if answer.status_code == 200 else []


def test_a_new_item_is_reachable_within_a_second_of_its_catalogue_event(live: Live) -> None:
    live.produce([record("1", "Alien"), record("2", "The Thing")])
    url = live.api()
    wait_until(lambda: alike(url, "1") == ["2"], 30, "the catalogue to be read, kernels compiled")
    waited = []
    for turn in range(3):
        started = time.monotonic()
        live.produce([record("new", f"Alien {'abc'[turn] * 3}")])
        wait_until(lambda: "new" in alike(url, "1"), 10, "the new item")
        waited.append(time.monotonic() - started)
        live.produce([record("new", None)])
        wait_until(lambda: "new" not in alike(url, "1"), 10, "the item to go")
    assert min(waited) < 1.0, waited  # the best of three: other programs may be busy on the machine
