"""A whole steered recommendation at 300 requests a second, what the API holds at most, and what twice that does to it.

Catalogue, people, items and models are put where workers and learner put them (`learned_store`); no worker and no learner runs
beside. Every request has all online sources, the blend, a filter, and MMR over the best 200.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

import numpy as np

from benchmarks.http_load import Client, Reply, get, with_client
from benchmarks.learned_store import USERS, fill
from benchmarks.rig import Rig, rig
from benchmarks.row import Row

RATE, SECONDS = 300, 20
WARM, ROUNDS, IN_ROUND, AT_ONCE = 600, 3, 600, 8  # at once: the slots of the API; more would be refused
OVERLOAD_SECONDS = 10
FILTER: Final = 'not ("category 3" in categories) and not seen'
SURFACES: Final = "surfaces:\n  home:\n    diversity: {method: mmr, default: 0.3}\n"


class Held(NamedTuple):
    """Answers a second, each the best of the rounds, which took turns."""

    ours: float
    empty: float


def steered(count: int, seed: int) -> list[bytes]:
    """Requests of as many people, drawn with repetition: the best 20 items."""
    path = f"/v1/users/user{{}}/recommendations?k=20&surface=home&filter={quote(FILTER)}"
    return [get(path.format(user)) for user in np.random.default_rng(seed).integers(0, USERS, count).tolist()]


def run(items: int = 100_000) -> list[Row]:
    """Fill the store, then measure: at the wanted rate, in a closed loop beside an empty route, at twice what that gave."""
    with rig() as bench:
        settings = fill(bench, items) | surfaces(bench)
        url = bench.api(**settings)
        empty, _ = bench.server("-m", "benchmarks.empty_app", ready="/")
        wait_for_models(url)
        with_client(url, lambda client: client.at_rate(steered(WARM, 1), RATE / 4))
        replies = with_client(url, lambda client: client.at_rate(steered(RATE * SECONDS, 2), RATE))
        held = _held(url, empty)
        over = with_client(url, lambda client: client.at_rate(steered(int(2 * held.ours * OVERLOAD_SECONDS), 4), 2 * held.ours))
    size = f"{items // 1_000_000}m" if items >= 1_000_000 else f"{items // 1000}k"
    return [*_at_rate(f"serve_{size}", replies, items), *_most(f"serve_{size}", held, over)]


def surfaces(bench: Rig) -> dict[str, object]:
    """Settings with a surfaces file that asks for MMR."""
    path = bench.folder / "surfaces.yaml"
    path.write_text(SURFACES, encoding="utf-8")
    return {"surfaces": path}


def wait_for_models(url: str) -> None:
    """Until the online blend ranks and everything that is described alike is known."""

    async def ranked(client: Client) -> bool:
        return b'"blend":"blend@' in (await client.ask(steered(1, 1)[0])).body

    deadline = time.monotonic() + 120
    while not with_client(url, ranked):
        if time.monotonic() > deadline:
            raise TimeoutError("the API does not rank by the online models")
        time.sleep(0.5)
    time.sleep(10)


def _held(url: str, empty: str) -> Held:
    ours, others = [], []
    for turn in range(ROUNDS):
        requests = steered(IN_ROUND, 10 + turn)
        ours.append(with_client(url, lambda client, requests=requests: client.without_pause(requests, AT_ONCE)))
        others.append(with_client(empty, lambda client: client.without_pause([get("/")] * 10 * IN_ROUND, AT_ONCE)))
    return Held(max(ours), max(others))


def _at_rate(name: str, replies: Sequence[Reply], items: int) -> list[Row]:
    answered = [reply.milliseconds for reply in replies if reply.status == 200]
    p50, p99 = np.percentile(answered, [50, 99]).tolist() if answered else (float("inf"),) * 2
    large = items >= 1_000_000
    return [
        Row(f"{name}_p50_ms", p50, "ms", wanted="" if large else "<= 5"),
        Row(f"{name}_p99_ms", p99, "ms", wanted="<= 25" if large else "<= 15"),
        Row(f"{name}_refused", 100 * (1 - len(answered) / len(replies)), "% at 300/s", wanted="0"),
    ]


def _most(name: str, held: Held, over: Sequence[Reply]) -> list[Row]:
    accepted = [reply.milliseconds for reply in over if reply.status == 200]
    others = [reply for reply in over if reply.status != 200]
    wrong = sum(not (reply.status in (429, 503) and reply.retry_after) for reply in others)
    return [
        Row(f"{name}_holds", held.ours, "requests/s", "an empty FastAPI route", held.ours / held.empty, "ratio >= 0.25"),
        Row(f"{name}_overload_p99_ms", float(np.percentile(accepted, 99)), "ms", wanted="bounded"),
        Row(f"{name}_overload_answered", len(accepted) / OVERLOAD_SECONDS, "requests/s", "what it holds",
            len(accepted) / OVERLOAD_SECONDS / held.ours),
        Row(f"{name}_overload_errors", wrong, "not 429/503 with Retry-After", wanted="0"),
    ]  # fmt: skip
