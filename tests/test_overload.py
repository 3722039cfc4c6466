"""Under twice the load that it can hold: 503 with Retry-After for what is too much, quick answers for the rest, then as before."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from benchmarks.http_load import Client, Reply, get, post, with_client

SECONDS = 4.0

# 100 candidates to filter and rerank: some ms of the server's core, none of it anybody else's.
HEAVY = post(
    "/v1/recommendations",
    {"candidates": [f"item{n}" for n in range(100)], "k": 20, "filter": 'not ("a" in categories)', "diversity": 0.5},
)


@contextmanager
def api(**settings: Any) -> Iterator[str]:
    """A real server, without Kafka and Redis."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"from serving.app import run; from schemas.settings import Settings; run(Settings(api_port={port}, **{settings!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with api() as running:
        yield running


class Seen(NamedTuple):
    """What came back of twice the load it can hold, of health checks meanwhile, and of single requests afterwards."""

    replies: list[Reply]
    health: list[Reply]
    afterwards: list[Reply]

    @property
    def accepted_p99(self) -> float:
        return float(np.percentile([reply.milliseconds for reply in self.replies if reply.status == 200], 99))


async def overloaded(client: Client) -> Seen:
    await client.without_pause([HEAVY] * 50, 2)
    holds = await client.without_pause([HEAVY] * 300, 8)
    checks = asyncio.create_task(client.at_rate([get("/healthz"), get("/metrics")] * int(5 * SECONDS), 10))
    replies = await client.at_rate([HEAVY] * int(2 * holds * SECONDS), 2 * holds)
    return Seen(replies, await checks, [await client.ask(HEAVY) for _ in range(20)])


@pytest.mark.integration
def test_twice_the_load_it_can_hold(url: str) -> None:
    """Beside the same server without a bound, in the same minute: how fast the machine is just now is its own business."""
    seen = with_client(url, overloaded)
    counted = httpx.get(f"{url}/metrics").text
    refused = [reply for reply in seen.replies if reply.status == 503]
    assert {reply.status for reply in seen.replies} == {200, 503}
    assert all(reply.retry_after and b"try again" in reply.body for reply in refused)
    assert len(refused) < 0.9 * len(seen.replies), "it must still answer what it can"
    assert {reply.status for reply in seen.health} == {200}, "health and metrics are never refused"
    assert {reply.status for reply in seen.afterwards} == {200}
    assert f'freshet_refused_total{{reason="overload"}} {float(len(refused))}' in counted
    with api(queue_ms=0) as patient:
        unbounded = with_client(patient, overloaded)
    assert {reply.status for reply in unbounded.replies} == {200}
    assert seen.accepted_p99 < unbounded.accepted_p99 / 2


@pytest.mark.integration
def test_new_connections_are_taken_in_while_it_is_busy(url: str) -> None:
    """Twenty clients that connect at once do not need twenty turns of a loop that is busy all the time."""

    async def ask(client: Client) -> tuple[float, float]:
        holds = await client.without_pause([HEAVY] * 100, 8)
        busy = asyncio.create_task(client.without_pause([HEAVY] * 500, 8))
        await asyncio.sleep(0.2)
        checks = [asyncio.create_task(Client.ask(other, get("/healthz"))) for other in (Client(client.url) for _ in range(20))]
        slowest = max(reply.milliseconds for reply in await asyncio.gather(*checks))
        await busy
        return slowest, 1000 * 8 / holds

    slowest, turn = with_client(url, ask)
    assert slowest < 10 * turn
