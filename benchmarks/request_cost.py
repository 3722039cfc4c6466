"""CPU that one request costs the API process, all its threads together, without worker and learner; of two checkouts in turn.

`python -m benchmarks request_cost --beside ../other`. The time the process used is steadier than the time that went by.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson

from benchmarks.http_load import Reply, get, with_client
from benchmarks.learned_store import USERS, fill
from benchmarks.rig import rig
from benchmarks.row import Row
from benchmarks.serve import steered, surfaces, wait_for_models

ITEMS, ROUNDS, IN_ROUND, RATE, AT_ONCE = 10_000, 5, 400, 50, 4


def run(beside: Path | None = None) -> list[Row]:
    """Five rounds of each kind of request for each checkout; the median counts."""
    roots = [None, beside.resolve()] if beside else [None]
    with rig() as bench:
        settings = fill(bench, ITEMS) | surfaces(bench)
        apis = [bench.server("-m", "ops.cli", "api", ready="/readyz", root=root, **settings) for root in roots]
        for url, _ in apis:
            wait_for_models(url)
            with_client(url, lambda client: client.at_rate(plain(IN_ROUND, 1) + steered(IN_ROUND, 1), RATE))
        costs = {
            kind: [[_cost(url, process, requests(IN_ROUND, turn)) for url, process in apis] for turn in range(ROUNDS)]
            for kind, requests in (("health", health), ("plain", plain), ("steered", steered))
        }
        asked = plain(IN_ROUND, 99) + steered(IN_ROUND, 99)
        answers = [with_client(url, lambda client: client.at_rate(asked, RATE)) for url, _ in apis]
    rows = [_row(kind, [median(column) for column in zip(*rounds, strict=True)]) for kind, rounds in costs.items()]
    other = sum(_told(one) != _told(another) for one, another in zip(answers[0], answers[-1], strict=True))
    return [*rows, Row("request_cost/other_answers", other, f"of {len(asked)}")] if beside else rows


def health(count: int, _: int) -> list[bytes]:
    """The least that a request can cost."""
    return [get("/healthz")] * count


def plain(count: int, seed: int) -> list[bytes]:
    """The best ten, as they are."""
    people = np.random.default_rng(seed).integers(0, USERS, count).tolist()
    return [get(f"/v1/users/user{user}/recommendations?k=10") for user in people]


def _told(reply: Reply) -> dict[str, Any]:
    """The answer without what no two answers share."""
    answer: dict[str, Any] = orjson.loads(reply.body)
    answer["freshness"].pop("age_ms")
    del answer["request_id"]
    return answer


def _row(kind: str, costs: Sequence[float]) -> Row:
    ours, other = costs[0], costs[1] if len(costs) > 1 else None
    if other is None:
        return Row(f"request_cost/{kind}", ours, "CPU ms")
    return Row(f"request_cost/{kind}", ours, "CPU ms", f"{other:.2f} beside", ours / other)


def _cost(url: str, process: subprocess.Popen[bytes], requests: Sequence[bytes]) -> float:
    """CPU ms a request, of a few at a time; what goes on anyway while they come is part of it."""
    before = _cpu_seconds(process.pid)
    with_client(url, lambda client: client.without_pause(requests, AT_ONCE))
    return 1000 * (_cpu_seconds(process.pid) - before) / len(requests)


def _cpu_seconds(pid: int) -> float:
    """Of a process so far, see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
