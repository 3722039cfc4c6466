"""Promise 1: every event's effect is in the store exactly once, whatever is killed and whenever."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from tests import oracle
from tests.live import Live, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]
KILLS = 20
EVENTS = 50_000


@pytest.fixture(scope="module")
def history() -> list[oracle.Made]:
    """Everything produced in this module so far: each test adds to the same log, and checks all of it."""
    return []


def test_kill_9_at_twenty_random_moments(live: Live, history: list[oracle.Made]) -> None:
    rng = random.Random(7)
    events = oracle.make_events(EVENTS, users=2000, items=800, seed=1)
    feeder = threading.Thread(target=oracle.produce, args=(live, events))
    feeder.start()
    share = EVENTS // (KILLS + 1)
    for kill in range(KILLS):
        worker = live.worker(wait=False)
        before = live.applied()
        moved = wait_until(
            lambda before=before: live.applied() > before or live.applied() >= EVENTS, 60, "the worker to apply events"
        )
        assert moved
        # Not before this kill's share of the log: otherwise the first workers would do it all.
        while live.applied() < share * kill and worker.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        live.stop(worker, kill=True)
    feeder.join()
    history.extend(events)
    survivor = live.worker()
    live.settle(120)
    assert oracle.check(live, history) > 2500
    live.stop(survivor)


def test_kill_9_during_a_rebalance(live: Live, history: list[oracle.Made]) -> None:
    events = oracle.make_events(6000, users=500, items=300, seed=2)
    first = live.worker()
    feeder = threading.Thread(target=oracle.produce, args=(live, events))
    feeder.start()
    second = live.worker(wait=False)
    wait_until(lambda: "Joined group" in live.log_of(second) or "(Re-)joining group" in live.log_of(second), 60, "the rebalance")
    live.stop(first, kill=True)
    feeder.join()
    history.extend(events)
    live.settle(120)
    assert second.poll() is None
    assert oracle.check(live, history) > 500
    live.stop(second)


def survives(live: Live, history: list[oracle.Made], seed: int, stop: Callable[..., None], start: Callable[[], None]) -> int:
    """A server is killed in the middle of a stream and comes back; the worker itself stays up and nothing is lost or doubled.

    Returns:
        How many users and items were compared.
    """
    events = oracle.make_events(8000, users=500, items=300, seed=seed)
    worker = live.worker()
    before = live.applied()
    feeder = threading.Thread(target=oracle.produce, args=(live, events))
    feeder.start()
    wait_until(lambda: live.applied() > before, 30, "the worker to apply events")
    stop(kill=True)
    time.sleep(1.0)
    start()
    feeder.join()
    history.extend(events)
    live.settle(120)
    assert worker.poll() is None, "the worker itself survives"
    compared = oracle.check(live, history)
    live.stop(worker)
    return compared


def test_redis_is_killed_and_comes_back_without_its_last_writes(live: Live, history: list[oracle.Made]) -> None:
    # The append-only file is synced once a second: up to a second of writes is gone.
    assert survives(live, history, 3, live.servers.stop_redis, live.servers.start_redis) > 500


def test_redis_is_flushed_under_a_running_worker(live: Live, history: list[oracle.Made]) -> None:
    worker = live.worker()
    live.settle()
    live.redis.flushall()
    wait_until(lambda: live.applied() > 0, 60, "the worker to begin again")
    live.settle(120)
    assert worker.poll() is None
    assert oracle.check(live, history) > 500
    live.stop(worker)


def test_kafka_is_killed_and_comes_back(live: Live, history: list[oracle.Made]) -> None:
    assert survives(live, history, 4, live.servers.stop_kafka, live.servers.start_kafka) > 500
