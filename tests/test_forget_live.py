"""`DELETE /v1/users/{id}` on real servers: within a minute nothing of them is left, in any store or file, nor in any count."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable
from pathlib import Path

import httpx
import orjson
import pytest
from pyarrow import parquet

from batch.lake.compacting import compact
from batch.lake.kafka_log import KafkaLog
from batch.lake.lake import open_lake
from batch.lake.rows import read_rows
from batch.lake.syncing import sync
from feature_store.forgotten_blob import hash_of
from feature_store.keys import SALT, forgotten_key
from ops.kafka_address import client_config
from schemas.ids import partition_of
from schemas.topics import CLICKS, USERS
from tests.forgetting_oracle import Click, as_record, assert_holds, expected
from tests.live import Live, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
EVE, START = "eve-4711", 1_767_225_600_000
SECRET = EVE.encode()
DECISIONS = b"d:{decisions}"
ITEMS, USERS_THERE, ROUNDS, KILLS = 40, 30, 30, 3
GONE = [f"gone-{n}-4712" for n in range(KILLS)]
END = START + 1000 * ROUNDS


def stream(users: Iterable[str], seed: int = 1) -> list[Click]:
    """Everybody clicks once a second, in turn."""
    rng = random.Random(seed)
    return [
        Click(user, f"i{int(ITEMS * rng.random() ** 2)}", START + 1000 * n + at)
        for n in range(ROUNDS)
        for at, user in enumerate(users)
    ]


ALL = stream([EVE, *GONE, *(f"u{n}" for n in range(USERS_THERE))])


def contents(live: Live, key: bytes) -> bytes:
    """Everything under a key, whatever kind it is of."""
    client, kind = live.redis, live.redis.type(key)
    if kind == b"string":
        blob: bytes = client.get(key) or b""  # type: ignore[assignment]
        return zlib.decompress(blob) if key.startswith(DECISIONS) and not blob.isdigit() else blob
    if kind == b"hash":
        return repr(client.hgetall(key)).encode()
    return repr(client.zrange(key, 0, -1) if kind == b"zset" else client.smembers(key)).encode()


def telling(live: Live, secret: bytes = SECRET) -> set[bytes]:
    """Keys that tell of somebody, by their names or by what is in them."""
    return {key for key in live.redis.scan_iter("*") if secret in key or secret in contents(live, key)}


def check_items(live: Live, gone: Iterable[str]) -> None:
    """Every item is as if these users had never been there."""
    left = set(gone)
    wanted = expected([click for click in ALL if click.user not in left], END)
    assert len(wanted) > ITEMS / 2
    for item in {click.item for click in ALL}:
        assert_holds(live.item(item), wanted.get(item), END, item)


def test_nothing_is_left_of_them_in_the_store(live: Live) -> None:
    live.produce([("items", f"i{n}", b'{"item_id":"i%d","title":"Film %d"}' % (n, n)) for n in range(ITEMS)])
    live.produce([("users", EVE, b'{"user_id":"eve-4711","attributes":{"mail":"eve@example.org"}}')])
    records = [as_record(click, number) for number, click in enumerate(ALL)]
    live.produce([(topic, key, orjson.dumps(fields)) for topic, key, fields in records])
    live.worker()
    url = live.api()
    live.settle()
    check_items(live, ())
    wait_until(lambda: len(telling(live)) >= 3, 60, "state, profile and the models' table of users")
    answers = [httpx.get(f"{url}/v1/users/{EVE}/recommendations", params={"k": 5}).json() for _ in range(3)]
    request = f"{url}/v1/requests/{answers[-1]['request_id']}"
    assert httpx.get(request).json()["user_id"] == EVE
    before = len(httpx.get(f"{url}/v1/users/{EVE}").json()["history"])
    assert before == ROUNDS
    assert len([key for key in telling(live) if key.startswith(DECISIONS)]) == 3 + 2, "three records, their sizes, her set"

    forgotten = httpx.delete(f"{url}/v1/users/{EVE}")
    began = time.monotonic()
    assert (forgotten.status_code, forgotten.json()["user_id"]) == (202, EVE)
    wait_until(lambda: telling(live) == set(), 60, "nothing of her in Redis")
    live.settle()
    check_items(live, [EVE])
    assert time.monotonic() - began < 60
    marks = live.redis.get(forgotten_key(partition_of(EVE, live.settings.partitions)))
    assert hash_of(EVE, live.redis.get(SALT)) in marks
    page = httpx.get(f"{url}/v1/users/{EVE}").json()
    assert (page["history"], sum(page["counts"].values())) == ([], 0)
    assert httpx.get(request).status_code == 404
    assert httpx.delete(f"{url}/v1/users/nobody-ever").status_code == 202


def test_nothing_is_left_in_any_file_of_the_lake_after_its_next_compaction(live: Live, tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / "lake"))
    with KafkaLog(client_config(live.servers.kafka)) as log:
        sync(lake, log, 1000 * int(time.time()))
    clicks = live.read_topic(CLICKS)
    assert any(SECRET in message.value() for message in clicks), "the log itself keeps what retention leaves it"
    assert any(SECRET in text for text in texts(tmp_path))
    report = compact(lake, 1000 * int(time.time()), grace_ms=0)
    assert report.forgotten >= ROUNDS + 1 + 3, "clicks, the profile, impressions"
    assert not [text[:80] for text in texts(tmp_path) if SECRET in text]
    users = [user for rows in read_rows(lake, [CLICKS], ("user_id",)) for user in rows.column("user_id").to_pylist()]
    assert len(users) == len(ALL) - ROUNDS
    assert [row for rows in read_rows(lake, [USERS], ("deleted",)) for row in rows.column("deleted").to_pylist()] == [True] * 2


def texts(folder: Path) -> Iterable[bytes]:
    """Names and bytes of all files of a folder, and of Parquet files what their columns hold."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        yield str(path).encode() + path.read_bytes()
        if path.suffix == ".parquet":
            yield repr(parquet.ParquetFile(path).read().to_pylist()).encode()


def test_kill_9_while_users_are_forgotten_takes_nothing_back_twice(live: Live) -> None:
    rng = random.Random(3)
    (worker,) = [process for process in live._processes if "worker" in process.args]  # type: ignore[operator]
    for user in GONE:
        live.produce([(USERS, user, None)])
        time.sleep(rng.random() * 0.06)
        live.stop(worker, kill=True)
        worker = live.worker()
    live.settle(120)
    check_items(live, [EVE, *GONE])
    assert not [user for user in (EVE, *GONE) if live.user(user) is not None]


def test_the_log_read_again_brings_nobody_back(live: Live) -> None:
    live.redis.flushall()
    wait_until(lambda: live.applied() > 0, 60, "the worker to begin again")
    live.settle(120)
    check_items(live, [EVE, *GONE])
    assert not [user for user in (EVE, *GONE) if live.user(user) is not None]
    run = subprocess.run(
        [sys.executable, "-m", "ops.cli", "verify", "--json"], env=live.environment(), capture_output=True, timeout=120, check=False
    )
    assert run.stdout, run.stderr.decode()
    assert orjson.loads(run.stdout)["differences"] == []
