"""Offers events at a steady rate, in a process of its own: `python -m benchmarks.load RATE USERS SEED`, until it is ended."""

from __future__ import annotations

import os
import sys
import time

from confluent_kafka import Producer

from benchmarks.rig import events

SECONDS = 300


def main(rate: int, users: int, seed: int) -> None:
    """In steps of 10 ms, from a producer that collects for 20 ms, as busy producers do."""
    producer = Producer({"bootstrap.servers": os.environ["FRESHET_KAFKA"], "partitioner": "murmur2_random", "linger.ms": 20})
    step = max(1, rate // 100)
    stream = events(rate * SECONDS, users, seed, int(time.time() * 1000) - rate * SECONDS * 1000)
    started = time.perf_counter()
    for sent, (topic, key, value) in enumerate(stream, 1):
        producer.produce(topic, value, key)
        if sent % step == 0:
            producer.poll(0)
            time.sleep(max(0.0, started + sent / rate - time.perf_counter()))
    producer.flush(10)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
