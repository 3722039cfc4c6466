"""How long after a producer's `produce` call the event is visible in the API, at 1,000 events a second."""

from __future__ import annotations

import time

import httpx
import numpy as np
import orjson
from confluent_kafka import Producer

from benchmarks.rig import Rig, catalogue, events, rig
from benchmarks.row import Row

RATE, PROBES, BEFORE = 1000, 300, 20_000


def run() -> list[Row]:
    """Offer the load; meanwhile click as one person after the other and poll the API until each click is in the history."""
    with rig() as bench:
        bench.produce(catalogue())
        bench.produce(events(BEFORE, 2000))
        bench.worker()
        url = bench.api()
        bench.settle()
        bench.settle_models(BEFORE)
        load = bench.spawn("-m", "benchmarks.load", str(RATE), "5000", "3")
        time.sleep(3)
        milliseconds = _probe(bench, url)
        bench.stop(load)
    p50, p99 = np.percentile(milliseconds, [50, 99])
    floor = float(np.min(milliseconds))
    return [
        Row("freshness_p50_ms", float(p50), "ms", "quickest click", float(p50) / floor, "<= 40"),
        Row("freshness_p99_ms", float(p99), "ms", "quickest click", float(p99) / floor, "<= 150"),
    ]


def _probe(bench: Rig, url: str) -> list[float]:
    producer = Producer({"bootstrap.servers": bench.servers.kafka, "partitioner": "murmur2_random", "linger.ms": 0})
    waited = []
    with httpx.Client(base_url=url) as client:
        for n in range(PROBES):
            user = f"probe{n}"
            value = {"user_id": user, "item_id": "1000001", "timestamp": int(time.time() * 1000)}
            started = time.perf_counter()
            producer.produce("clicks", orjson.dumps(value), user)
            producer.poll(0)
            while not client.get(f"/v1/users/{user}").json()["history"]:
                time.sleep(0.003)  # asking without a pause would take the core that the worker needs
            waited.append(1000 * (time.perf_counter() - started))
            time.sleep(0.05)
    producer.flush(10)
    return waited
