"""`DELETE /v1/users/{id}` on real servers: within a minute nothing of them is left but that they were forgotten, and when."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import httpx
import pytest

from batch.lake.compacting import compact
from batch.lake.kafka_log import KafkaLog
from batch.lake.lake import Lake, open_lake
from batch.lake.rows import read_rows
from batch.lake.syncing import sync
from feature_store.keys import user_key
from ops.kafka_address import client_config
from schemas.ids import partition_of
from schemas.topics import CLICKS, IMPRESSIONS, USERS
from tests.live import Live, event, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
EVE, START = "eve-4711", 1_767_225_600_000
SECRET = EVE.encode()
DECISIONS = b"d:{decisions}"


def contents(live: Live, key: bytes) -> bytes:
    """Everything under a key, whatever kind it is of."""
    client, kind = live.redis, live.redis.type(key)
    if kind == b"string":
        blob: bytes = client.get(key) or b""  # type: ignore[assignment]
        return zlib.decompress(blob) if key.startswith(DECISIONS) and not blob.isdigit() else blob
    if kind == b"hash":
        return repr(client.hgetall(key)).encode()
    return repr(client.zrange(key, 0, -1) if kind == b"zset" else client.smembers(key)).encode()


def telling(live: Live) -> set[bytes]:
    """Keys that tell of Eve, by their names or by what is in them."""
    return {key for key in live.redis.scan_iter("*") if SECRET in key or SECRET in contents(live, key)}


def test_nothing_is_left_but_that_they_were_forgotten(live: Live, tmp_path: Path) -> None:
    users = [EVE, *(f"u{n}" for n in range(30))]
    live.produce([("items", f"i{n}", b'{"item_id":"i%d","title":"Film %d"}' % (n, n)) for n in range(40)])
    live.produce([("users", EVE, b'{"user_id":"eve-4711","attributes":{"mail":"eve@example.org"}}')])
    live.produce(
        [
            ("clicks", user, event(user, f"i{(n * 7 + at) % 40}", START + 1000 * n + at, event_id=f"{user}-{n}"))
            for n in range(30)
            for at, user in enumerate(users)
        ]
    )
    live.worker()
    url = live.api()
    live.settle()
    wait_until(lambda: len(telling(live)) >= 3, 60, "state, profile and the models' table of users")
    answers = [httpx.get(f"{url}/v1/users/{EVE}/recommendations", params={"k": 5}).json() for _ in range(3)]
    request = f"{url}/v1/requests/{answers[-1]['request_id']}"
    assert httpx.get(request).json()["user_id"] == EVE
    before = len(httpx.get(f"{url}/v1/users/{EVE}").json()["history"])
    assert before == 30
    assert len([key for key in telling(live) if key.startswith(DECISIONS)]) == 3 + 2, "three records, their sizes, her set"

    forgotten = httpx.delete(f"{url}/v1/users/{EVE}")
    began = time.monotonic()
    assert (forgotten.status_code, forgotten.json()["user_id"]) == (202, EVE)
    marker = user_key(partition_of(EVE, live.settings.partitions), EVE)
    wait_until(lambda: telling(live) == {marker}, 60, "nothing of her in Redis but the marker")
    assert time.monotonic() - began < 60
    assert contents(live, marker).count(SECRET) == 0
    page = httpx.get(f"{url}/v1/users/{EVE}").json()
    assert (page["history"], sum(page["counts"].values())) == ([], 0)
    assert httpx.get(request).status_code == 404
    assert httpx.get(f"{url}/v1/users/{EVE}/recommendations").json()["degraded"] == "unknown_user"
    assert httpx.delete(f"{url}/v1/users/nobody-ever").status_code == 202


def test_the_lake_follows_at_its_next_compaction(live: Live, tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / "lake"))
    with KafkaLog(client_config(live.servers.kafka)) as log:
        sync(lake, log, 1000 * int(time.time()))
    clicks = live.read_topic(CLICKS)
    assert any(SECRET in message.value() for message in clicks), "the log itself keeps what retention leaves it"
    report = compact(lake, 1000 * int(time.time()), grace_ms=0)
    assert report.forgotten >= 30 + 1 + 3, "clicks, the profile, impressions"
    left = {topic: users_in(lake, topic) for topic in (CLICKS, IMPRESSIONS, USERS)}
    assert set(left[CLICKS]) == {f"u{n}" for n in range(30)}
    assert left[IMPRESSIONS].count(EVE) == 1, "the list that she was shown since"
    assert [user for user in left[USERS] if user == EVE] == [EVE], "that she was forgotten"


def users_in(lake: Lake, topic: str) -> list[str]:
    return [user for rows in read_rows(lake, [topic], ("user_id",)) for user in rows.column("user_id").to_pylist()]
