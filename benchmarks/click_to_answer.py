"""From a click that goes in over HTTP until the recommendations know of it: 500 events and 100 requests a second at the same time.

API, worker and learner, Kafka and Redis share the machine. Events come in posts of ten, as the clients gather them. Half of the
requests are those of people who have just clicked for the first time and ask until their list says so, every 20 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from benchmarks.http_load import Client, get, post, with_client
from benchmarks.rig import catalogue, compile_models, events, rig
from benchmarks.row import Row

EVENTS_RATE, GATHERED, REQUESTS_RATE = 500, 10, 50  # and 50 more requests of those who wait
BEFORE, USERS, PROBES, PAUSE, WARM_SECONDS = 50_000, 5000, 300, 0.02, 5


def run() -> list[Row]:
    """10,000 items, 50,000 events learnt before; then 300 clicks, one after the other."""
    compile_models()
    with rig() as bench:
        bench.produce(catalogue())
        bench.produce(events(BEFORE, USERS))
        bench.worker()
        url = bench.api()
        bench.settle(300)
        bench.settle_models(BEFORE)
        waited, quiet = with_client(url, _measure)
    p50, p99 = np.percentile(waited, [50, 99]).tolist()
    floor = float(np.median(quiet))
    return [
        Row("click_to_answer_p50_ms", p50, "ms", "without other load", p50 / floor),
        Row("click_to_answer_p99_ms", p99, "ms", "without other load", p99 / floor, "<= 200"),
    ]


async def _measure(client: Client) -> tuple[list[float], list[float]]:
    """Milliseconds of each click, under load and without."""
    quiet = [await _click(client, f"quiet{n}") for n in range(20)]
    seconds = WARM_SECONDS + 60
    load = [
        asyncio.create_task(client.at_rate(list(_posts(seconds)), EVENTS_RATE / GATHERED)),
        asyncio.create_task(client.at_rate(list(_asks(seconds)), REQUESTS_RATE)),
    ]
    await asyncio.sleep(WARM_SECONDS)
    waited = [await _click(client, f"probe{n}") for n in range(PROBES)]
    for task in load:
        task.cancel()
    await asyncio.gather(*load, return_exceptions=True)
    return waited, quiet


async def _click(client: Client, user: str) -> float:
    """From the post until a list of theirs has a newest event."""
    started = time.perf_counter()
    await client.ask(post("/v1/events", {"type": "click", "user_id": user, "item_id": "1000001"}))
    while True:
        asked = time.perf_counter()
        reply = await client.ask(get(f"/v1/users/{user}/recommendations?k=10"))
        if reply.status == 200 and orjson.loads(reply.body)["freshness"]["newest_event_at"] is not None:
            return 1000 * (time.perf_counter() - started)
        await asyncio.sleep(max(0.0, asked + PAUSE - time.perf_counter()))


def _posts(seconds: int) -> Iterator[bytes]:
    gathered: list[dict[str, Any]] = []
    for topic, _, value in events(EVENTS_RATE * seconds, USERS, seed=3):
        event = orjson.loads(value)
        gathered.append({"topic": topic} | {name: event[name] for name in ("event_id", "user_id", "item_id")})
        if len(gathered) == GATHERED:
            yield post("/v1/events", gathered)
            gathered = []


def _asks(seconds: int) -> Iterator[bytes]:
    for user in np.random.default_rng(4).integers(0, USERS, REQUESTS_RATE * seconds).tolist():
        yield get(f"/v1/users/user{user}/recommendations?k=10")
