"""Bytes that Redis needs for a user of 50 events and for an item with 50 neighbours: key, value and Redis' own bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import orjson

from benchmarks.rig import Record, Rig, catalogue, rig
from benchmarks.row import Row
from feature_store.item_blob import unpack_item
from feature_store.user_blob import unpack_user

USERS, EVENTS_EACH, SAMPLE = 1000, 50, 400
DAY_MS = 86_400_000


def run() -> list[Row]:
    """1,000 users with exactly 50 events over 30 days, every event with an id; measured with MEMORY USAGE."""
    with rig() as bench:
        bench.produce(catalogue())
        bench.produce(_events())
        bench.worker()
        bench.settle()
        users = _usage(bench, "u:*", lambda blob: len(unpack_user(blob).history) == EVENTS_EACH)
        items = _usage(bench, "i:*", lambda blob: len(unpack_item(blob).neighbours) == bench.settings.neighbours)
    return [
        Row("redis_bytes_user", users, "bytes", "50 events as JSON", users / _json_bytes(), "<= 1,000"),
        Row("redis_bytes_item", items, "bytes", wanted="<= 1,500"),
    ]


def _events() -> list[Record]:
    rng = np.random.default_rng(6)
    start = int(time.time() * 1000) - 30 * DAY_MS
    records = []
    for user in range(USERS):
        items = 1_000_000 + rng.integers(0, 2000, EVENTS_EACH)
        times = start + np.sort(rng.integers(0, 30 * DAY_MS, EVENTS_EACH))
        for n, (item, moment) in enumerate(zip(items.tolist(), times.tolist(), strict=True)):
            value = {"event_id": f"{user}-{n}", "user_id": f"user{user}", "item_id": str(item), "timestamp": moment}
            records.append(("clicks", f"user{user}", orjson.dumps(value)))
    return records


def _json_bytes() -> float:
    first = [len(value) for _, key, value in _events()[:EVENTS_EACH]]
    return float(sum(first))


def _usage(bench: Rig, pattern: str, counts: Callable[[bytes], bool]) -> float:
    """Mean MEMORY USAGE of the keys whose blob counts."""
    sizes = []
    for key in bench.redis.scan_iter(pattern, count=1000):
        if counts(bench.redis.get(key)):
            sizes.append(bench.redis.memory_usage(key, samples=0))
        if len(sizes) == SAMPLE:
            break
    return float(np.mean(sizes))
