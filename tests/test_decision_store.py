"""The decision log in Redis: kept for a time, within its bytes whoever writes, and nothing of somebody who was forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis

from feature_store.decision_store import DecisionRecord, RedisDecisions
from feature_store.keys import DECISION_BYTES, DECISION_ORDER, DECISION_SIZES, decision_key, decisions_of_key
from schemas.errors import StoreUnavailable
from tests.servers import TestServers

pytestmark = pytest.mark.integration
NOW = 1_767_258_000_000


@pytest.fixture
def url(stack_servers: TestServers) -> str:
    return stack_servers.redis.rsplit("/", 1)[0] + "/6"


@pytest.fixture
async def console(url: str) -> AsyncIterator[redis.Redis]:
    console = redis.Redis.from_url(url)
    console.flushdb()
    yield console
    console.flushdb()
    console.close()


def record(n: int, size: int = 100, user: str = "ann") -> DecisionRecord:
    return DecisionRecord(f"r{n:04}", user, b"%d" % (n % 10) * size)


def kept(console: redis.Redis) -> list[int]:
    return [int(key.decode().rsplit("r", 1)[1]) for key in console.zrange(DECISION_ORDER, 0, -1)]  # type: ignore[union-attr]


def check_books(console: redis.Redis) -> None:
    """Order, sizes, bytes and people's sets speak of the same records, and these are there."""
    order = console.zrange(DECISION_ORDER, 0, -1)
    assert set(order) == set(console.hkeys(DECISION_SIZES))  # type: ignore[arg-type]
    blobs = [console.get(key) for key in order]  # type: ignore[union-attr]
    assert None not in blobs
    assert int(console.get(DECISION_BYTES) or 0) == sum(len(blob) for blob in blobs if blob)  # type: ignore[arg-type]
    people = list(console.scan_iter("d:{decisions}:u:*"))
    assert {key for person in people for key in console.smembers(person)} == set(order)  # type: ignore[arg-type,union-attr]


async def test_a_record_is_read_as_it_was_written_until_its_time_is_over(url: str, console: redis.Redis) -> None:
    store = RedisDecisions(url, 60, 1 << 20)
    await store.append([record(1), DecisionRecord("r0002", "ünï:\n{x}", b"\x00\r\n\xff")], NOW)
    assert await store.read("r0001") == b"1" * 100
    assert await store.read("r0002") == b"\x00\r\n\xff"
    assert await store.read("r0003") is None
    assert all(0 < console.ttl(key) <= 60 for key in console.scan_iter("*"))  # type: ignore[operator]
    await store.append([record(3)], NOW + 60_001)
    assert kept(console) == [3]
    check_books(console)
    await store.close()


async def test_the_oldest_make_room_and_the_newest_always_stay_within_it(url: str, console: redis.Redis) -> None:
    store = RedisDecisions(url, 3600, 1000)
    for n in range(25):
        await store.append([record(n, user=f"u{n % 3}")], NOW + n)
        assert int(console.get(DECISION_BYTES) or 0) <= 1000  # type: ignore[arg-type]
    assert kept(console) == list(range(15, 25))
    await store.append([record(n, 400) for n in range(30, 34)], NOW + 50)
    assert kept(console) == [32, 33]
    check_books(console)
    await store.append([record(40, 1001)], NOW + 60)
    assert kept(console) == [], "larger than everything that may be kept"
    check_books(console)
    await store.close()


async def test_several_writers_share_one_bound(url: str, console: redis.Redis) -> None:
    stores = [RedisDecisions(url, 3600, 5000) for _ in range(4)]

    async def write(store: RedisDecisions, base: int) -> None:
        for n in range(0, 60, 3):
            await store.append([record(base + n + i, 50 + n, f"u{base}") for i in range(3)], NOW + n)

    await asyncio.gather(*(write(store, 1000 * at) for at, store in enumerate(stores)))
    assert 4000 < int(console.get(DECISION_BYTES) or 0) <= 5000  # type: ignore[arg-type]
    check_books(console)
    for store in stores:
        await store.close()


async def test_of_somebody_forgotten_no_byte_stays(url: str, console: redis.Redis) -> None:
    store = RedisDecisions(url, 3600, 1 << 20)
    await store.append([record(n, user="ann" if n % 2 else "bob") for n in range(10)], NOW)
    await store.forget("ann")
    await store.forget("nobody")
    assert kept(console) == [0, 2, 4, 6, 8]
    check_books(console)
    assert not [key for key in console.scan_iter("*") if b"ann" in key or b"ann" in (console.dump(key) or b"")]  # type: ignore[operator]
    await store.close()


async def test_lost_books_stop_nobody(url: str, console: redis.Redis) -> None:
    store = RedisDecisions(url, 3600, 500)
    await store.append([record(n) for n in range(4)], NOW)
    console.delete(DECISION_SIZES, decisions_of_key("ann"))
    console.delete(decision_key("r0001"))
    await store.append([record(n) for n in range(10, 14)], NOW + 1)
    assert await store.read("r0013") == b"3" * 100
    console.flushdb()
    await store.append([record(20)], NOW + 2)
    check_books(console)
    await store.close()


async def test_without_redis_it_says_so() -> None:
    store = RedisDecisions("redis://127.0.0.1:1/0", 60, 1000, timeout_seconds=0.5)
    with pytest.raises(StoreUnavailable):
        await store.append([record(1)], NOW)
    with pytest.raises(StoreUnavailable):
        await store.read("r0001")
    with pytest.raises(StoreUnavailable):
        await store.forget("ann")
    await store.close()
