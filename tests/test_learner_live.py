"""The learner on real servers: every event learnt exactly once, whoever is killed, and nobody harmed by what it cannot read."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import orjson
import pytest

from feature_store.keys import JUDGE_ARRAYS, MODEL_INDEX, SCOREBOARD
from feature_store.model_pages import Replica
from feature_store.page_format import Index, unpack_index
from stream_workers.models.online.bank import OWN_MODELS, ModelBank
from tests.live import Live, Record, event, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def produced() -> list[str]:
    """The item of every event produced in this module so far: each test adds to the same log, and checks all of it."""
    return []


def clicks(count: int, seed: int, produced: list[str]) -> list[Record]:
    """Clicks of 300 users on 200 items, one in twenty sent twice with the same event id."""
    rng = random.Random(seed)
    now = int(time.time() * 1000)
    records: list[Record] = []
    for n in range(count):
        user, item = f"u{rng.randrange(300)}", str(int(200 * rng.random() ** 2))
        produced.append(item)
        record = ("clicks", user, event(user, item, now - count + n, event_id=f"{seed}-{n}"))
        records += [record, record] if rng.random() < 0.05 else [record]
    return records


def click_until_learnt(live: Live, produced: list[str], seed: int) -> None:
    """Clicks without end until the learner commits, and some more: whoever is killed then is killed in the middle of a stream."""
    before, deadline = learnt(live), time.monotonic() + 60
    while learnt(live) == before:
        assert time.monotonic() < deadline, "nothing is learnt"
        seed += 1000
        live.produce(clicks(100, seed, produced))
        time.sleep(0.02)
    live.produce(clicks(500, seed + 1000, produced))


def index_of(live: Live) -> Index | None:
    blob = live.redis.get(MODEL_INDEX)
    return unpack_index(blob) if blob else None


def learnt(live: Live) -> int:
    index = index_of(live)
    return index.events if index else 0


def stored_counts(live: Live) -> Counter[str]:
    """Events of each item, as the stored models know them."""
    replica = Replica(skip=JUDGE_ARRAYS)
    wanted = replica.wanted(live.redis.get(MODEL_INDEX) or b"")
    assert replica.take(live.redis.mget([place.key for place in wanted])), replica.faults
    bank = ModelBank()
    bank.load(replica.state)
    counts = bank.state()["log.item_events"].tolist()
    return Counter({item: counts[code] for code, item in enumerate(bank.items.ids)})


def settled(live: Live, produced: list[str], seconds: float = 150.0) -> Counter[str]:
    """Wait until everything is learnt and see that nothing is counted twice; the stored events of each item."""
    wait_until(lambda: learnt(live) >= len(produced), seconds, f"{len(produced)} events to be learnt")
    time.sleep(0.5)
    assert learnt(live) == len(produced)
    return stored_counts(live)


def learner(live: Live) -> dict[str, Any] | None:
    """The heartbeat of the worker that learns."""
    return next((beat for beat in live.heartbeats() if beat.get("learner")), None)


def test_kill_9_in_the_middle_of_a_stream(live: Live, produced: list[str]) -> None:
    for kill in range(2):
        worker = live.worker()
        click_until_learnt(live, produced, seed=kill)
        live.stop(worker, kill=True)
    live.produce(clicks(3000, 5, produced))
    survivor = live.worker()
    assert settled(live, produced) == Counter(produced)
    scoreboard = orjson.loads(live.redis.get(SCOREBOARD) or b"{}")
    assert scoreboard["events"] == len(produced)
    assert 0.5 < scoreboard["ranked"] / (0.02 * len(produced)) < 2
    assert scoreboard["models"].keys() == set(OWN_MODELS)
    live.stop(survivor)


def test_another_worker_takes_over_when_the_learner_is_killed(live: Live, produced: list[str]) -> None:
    workers = [live.worker(), live.worker()]
    wait_until(lambda: sorted(len(beat["partitions"]) for beat in live.heartbeats()) == [2, 2], 120, "two partitions each")
    first = wait_until(lambda: learner(live), 30, "a learner")["pid"]
    click_until_learnt(live, produced, seed=2)
    dying, other = sorted(workers, key=lambda worker: worker.pid != first)
    live.stop(dying, kill=True)
    live.produce(clicks(1000, 6, produced))
    wait_until(lambda: (learner(live) or {}).get("pid") == other.pid, 60, "the other worker to be the learner")
    assert settled(live, produced) == Counter(produced)
    beat = learner(live)
    assert beat is not None
    assert beat["learner"]["restarts"] == 0, live.log_of(other)


def test_an_event_is_learnt_within_a_second_also_where_other_partitions_are_silent(live: Live, produced: list[str]) -> None:
    wait_until(lambda: learner(live), 30, "a learner")
    latest = []
    for n in range(5):
        time.sleep(0.4)
        records = clicks(1, 100 + n, produced)[:1]
        live.produce(records)
        started = time.monotonic()
        wait_until(lambda: learnt(live) >= len(produced), 10, "one event")
        latest.append(time.monotonic() - started)
    assert sorted(latest)[2] < 1.0, latest


def test_hostile_messages_are_ignored(live: Live, produced: list[str]) -> None:
    rng = random.Random(5)
    hostile = [b"", b"{}", b"\x80", rng.randbytes(300), orjson.dumps({"version": 1}), None]
    live.produce([("interactions", "k", value) for value in hostile], lambda record: rng.randrange(4))
    live.produce(clicks(500, 3, produced))
    assert settled(live, produced) == Counter(produced)
    beat = learner(live)
    assert beat is not None
    assert beat["learner"]["restarts"] == 0


def test_a_flushed_store_is_learnt_again_from_the_log(live: Live, produced: list[str]) -> None:
    before = index_of(live)
    live.redis.flushall()
    wait_until(lambda: (index := index_of(live)) and before and index.epoch > before.epoch, 60, "the learner to begin anew")
    assert settled(live, produced) == Counter(produced)
    live.settle()
    assert settled(live, produced) == Counter(produced)
