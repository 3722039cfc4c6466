"""Promise 4: two workers are one system."""

from __future__ import annotations

import threading

import pytest

from schemas.topics import EVENT_TOPICS
from tests import oracle
from tests.live import Live, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def shares(live: Live) -> dict[int, list[int]]:
    return {beat["pid"]: beat["partitions"] for beat in live.heartbeats() if beat.get("partitions")}


def test_partitions_split_one_stops_and_the_other_takes_over(live: Live) -> None:
    events = oracle.make_events(20_000, users=800, items=300, seed=31)
    first, second = live.worker(), live.worker()
    wait_until(lambda: sorted(map(len, shares(live).values())) == [2, 2], 60, "two partitions each")
    assert sorted(p for own in shares(live).values() for p in own) == [0, 1, 2, 3]

    feeder = threading.Thread(target=oracle.produce, args=(live, events))
    feeder.start()
    wait_until(lambda: live.applied() > 2000, 60, "events to be applied")
    live.stop(first)
    assert first.returncode == 0, "a graceful stop"
    wait_until(lambda: shares(live).get(second.pid) == [0, 1, 2, 3], 60, "the second worker to own everything")
    third = live.worker()
    wait_until(lambda: sorted(map(len, shares(live).values())) == [2, 2], 60, "two partitions each again")
    feeder.join()
    live.settle(120)
    assert second.poll() is None
    assert third.poll() is None
    assert oracle.check(live, events) > 900
    assert live.applied() == sum(live.ends(EVENT_TOPICS).values())
