"""How long after a producer's `produce` call the event is visible in the API, at 1,000 events a second."""

from __future__ import annotations

import threading
import time

import httpx
import numpy as np
import orjson
from confluent_kafka import Producer

from benchmarks.rig import Rig, catalogue, events, rig
from benchmarks.row import Row

RATE, SECONDS, PROBES = 1000, 30, 200


def run() -> list[Row]:
    """Offer the load; meanwhile click as one person after the other and poll the API until each click is in the history."""
    with rig() as bench:
        bench.produce(catalogue())
        bench.produce(events(20_000, 2000))
        bench.worker()
        url = bench.api()
        bench.settle()
        stop = threading.Event()
        load = threading.Thread(target=_offer, args=(bench, stop))
        load.start()
        try:
            milliseconds = _probe(bench, url)
        finally:
            stop.set()
            load.join()
    p50, p99 = np.percentile(milliseconds, [50, 99])
    floor = float(np.min(milliseconds))
    return [
        Row("freshness_p50_ms", float(p50), "ms", "quickest click", float(p50) / floor, "<= 40"),
        Row("freshness_p99_ms", float(p99), "ms", "quickest click", float(p99) / floor, "<= 150"),
    ]


def _producer(bench: Rig) -> Producer:
    return Producer({"bootstrap.servers": bench.servers.kafka, "partitioner": "murmur2_random", "linger.ms": 1})


def _offer(bench: Rig, stop: threading.Event) -> None:
    """1,000 events a second, in steps of 10 ms."""
    producer = _producer(bench)
    stream = events(RATE * SECONDS * 4, 5000, seed=3, start_ms=int(time.time() * 1000) - RATE * SECONDS * 4000)
    started = time.perf_counter()
    for sent, (topic, key, value) in enumerate(stream, 1):
        if stop.is_set():
            break
        producer.produce(topic, value, key)
        if sent % 10 == 0:
            producer.poll(0)
            time.sleep(max(0.0, started + sent / RATE - time.perf_counter()))
    producer.flush(10)


def _probe(bench: Rig, url: str) -> list[float]:
    producer = _producer(bench)
    waited = []
    with httpx.Client(base_url=url) as client:
        for n in range(PROBES):
            user = f"probe{n}"
            value = {"user_id": user, "item_id": "1000001", "timestamp": int(time.time() * 1000)}
            started = time.perf_counter()
            producer.produce("clicks", orjson.dumps(value), user)
            producer.poll(0)
            while not client.get(f"/v1/users/{user}").json()["history"]:
                time.sleep(0.001)
            waited.append(1000 * (time.perf_counter() - started))
            time.sleep(0.05)
    producer.flush(10)
    return waited
