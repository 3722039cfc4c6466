"""How long a recommendation takes at 100 requests a second while the worker is busy on the same machine."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

import aiohttp
import httpx
import numpy as np

from benchmarks.rig import catalogue, events, rig
from benchmarks.row import Row

USERS, EVENTS_EACH = 10_000, 50
REQUESTS, RATE, BUSY_RATE = 3000, 100, 1000


def run() -> list[Row]:
    """10,000 items, 10,000 users of 50 events; 1,000 events a second go on while the requests come."""
    with rig() as bench:
        bench.produce(catalogue())
        bench.produce(events(USERS * EVENTS_EACH, USERS))
        bench.worker()
        url = bench.api()
        bench.settle(300)
        bench.settle_models(USERS * EVENTS_EACH)
        floor = asyncio.run(_ask(url, "/healthz", 500))
        calm = asyncio.run(_ask(url, "/v1/users/user{}/recommendations?k=10", REQUESTS // 3))
        load = bench.spawn("-m", "benchmarks.load", str(BUSY_RATE), str(USERS), "5")
        time.sleep(3)
        busy = asyncio.run(_ask(url, "/v1/users/user{}/recommendations?k=10", REQUESTS))
        bench.stop(load)
        trips, refused = _round_trips(url), 100 * (1 - len(busy) / REQUESTS)
    base = float(np.percentile(floor, 99))
    p50, p99 = (float(np.percentile(busy, q)) for q in (50, 99))
    return [
        Row("recommend_p50_ms", p50, "ms", "GET /healthz p99", p50 / base),
        Row("recommend_p99_ms", p99, "ms", "GET /healthz p99", p99 / base, "<= 15"),
        Row(
            "recommend_idle_p99_ms", float(np.percentile(calm, 99)), "ms", "GET /healthz p99", float(np.percentile(calm, 99)) / base
        ),
        Row("recommend_refused", refused, "%", wanted="0"),
        Row("store_round_trips", trips, "a request", wanted="<= 2"),
    ]


async def _ask(url: str, path: str, count: int) -> list[float]:
    """Open loop: each request at its time, whatever the others do; milliseconds from when it was due, of those that were answered
    and not refused because too much was asked.
    """
    rng = np.random.default_rng(4)
    users = rng.integers(0, USERS, count).tolist()
    waited: list[float] = []
    async with aiohttp.ClientSession(url) as client:
        started = time.perf_counter()

        async def one(due: float, target: str) -> None:
            async with client.get(target) as answer:
                await answer.read()
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                answer.raise_for_status()
                waited.append(1000 * (time.perf_counter() - due))

        tasks = []
        for n, user in enumerate(users):
            due = started + n / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(due, path.format(user))))
        await asyncio.gather(*tasks)
    return waited


def _round_trips(url: str) -> float:
    """Largest number of store round trips that any recommendation took, from the API's own metrics."""
    bounds = {}
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line.startswith("freshet_store_round_trips_bucket"):
            labels, value = line.rsplit(" ", 1)
            bound = labels.split('le="')[1].split('"')[0]
            bounds[float(bound)] = bounds.get(float(bound), 0.0) + float(value)
    total = max(bounds.values())
    return min(bound for bound, seen in bounds.items() if seen == total)
