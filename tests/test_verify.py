"""Promise 3: the log rebuilds everything, and `freshet verify` tells when the store is not what the log says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest

from feature_store.keys import item_key, user_key
from schemas.ids import partition_of
from tests import oracle
from tests.live import Live, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def events(live: Live) -> list[oracle.Made]:
    """A catalogue and events of all types, applied by a running worker."""
    made = oracle.make_events(8000, users=300, items=150, seed=21)
    categories = ["Horror", "Comedy", "Drama"]
    ids = sorted({e.item for e in made})
    live.produce(
        [("items", i, orjson.dumps({"item_id": i, "title": i, "categories": [categories[n % 3]]})) for n, i in enumerate(ids)]
    )
    live.produce([("users", f"u{n}", orjson.dumps({"user_id": f"u{n}", "groups": ["g"]})) for n in range(5)])
    live.worker()
    oracle.produce(live, made)
    live.settle()
    return made


def verify(live: Live) -> tuple[int, dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-m", "ops.cli", "verify", "--json"], env=live.environment(), capture_output=True, timeout=120, check=False
    )
    assert run.stdout, run.stderr.decode()
    return run.returncode, orjson.loads(run.stdout)


def test_no_difference_while_all_is_well(live: Live, events: list[oracle.Made]) -> None:
    status, report = verify(live)
    assert (status, report["differences"][:3]) == (0, [])
    assert report["users"] >= 300
    assert report["items"] >= 140


@pytest.mark.parametrize("kind", ["user", "item"])
@pytest.mark.parametrize("where", [0, 0.3, 0.7, 0.99])
def test_one_tampered_byte_is_reported(live: Live, events: list[oracle.Made], kind: str, where: float) -> None:
    partitions = live.settings.partitions
    name = events[0].user if kind == "user" else events[0].item
    key = (user_key if kind == "user" else item_key)(partition_of(name, partitions), name)
    blob = live.redis.get(key)
    damaged = bytearray(blob)
    damaged[int(where * len(blob))] ^= 0x10
    live.redis.set(key, bytes(damaged))
    status, report = verify(live)
    live.redis.set(key, blob)
    assert status == 1
    assert [difference["key"] for difference in report["differences"]] == [key.decode()]


def test_missing_and_surplus_keys_are_reported(live: Live, events: list[oracle.Made]) -> None:
    name = events[0].user
    key = user_key(partition_of(name, live.settings.partitions), name)
    blob = live.redis.get(key)
    live.redis.delete(key)
    live.redis.set(user_key(0, "nobody"), blob)
    status, report = verify(live)
    live.redis.set(key, blob)
    live.redis.delete(user_key(0, "nobody"))
    assert status == 1
    assert {(d["expected"], d["found"]) for d in report["differences"]} == {("'present'", "'absent'"), ("'absent'", "'present'")}


def test_flushed_redis_is_rebuilt_from_the_log_to_the_same_state(live: Live, events: list[oracle.Made]) -> None:
    before = {key: live.redis.get(key) for key in live.redis.scan_iter("p:*")}
    live.redis.flushall()
    wait_until(lambda: live.applied() > 0, 60, "the worker to begin again")
    live.settle(120)
    assert oracle.check(live, events) > 400
    assert {key: live.redis.get(key) for key in live.redis.scan_iter("p:*")} == before
    status, report = verify(live)
    assert (status, report["differences"][:3]) == (0, [])
