"""One suite for every feature store: in memory, and in a real Redis."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import redis
from redis.crc import key_slot

from feature_store import keys
from feature_store.memory import MemoryStore
from feature_store.port import FeatureStore, Writes
from feature_store.redis_store import RedisStore
from schemas.errors import Fenced
from tests.servers import TestServers

MARKS = keys.user_watermarks_key(3)
A, B, C = keys.user_key(3, "a"), keys.user_key(3, "b"), keys.user_key(3, "c")
Lifetime = Callable[[bytes], Awaitable[int]]


class Backend:
    """A store, and the power to do to it what a person at its console could."""

    def __init__(
        self, store: FeatureStore, flush: Callable[[], Awaitable[None]], lifetime: Callable[[bytes], Awaitable[int]]
    ) -> None:
        self.store = store
        self.flush = flush
        self.lifetime = lifetime
        """Seconds that a key has left, rounded up; -1: forever."""


class Clock:
    """Seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[Backend]:
    clock = Clock()
    store = MemoryStore(clock)

    async def flush() -> None:
        store.flush()

    async def lifetime(key: bytes) -> int:
        return round(store.deadlines.get(key, clock.now - 1) - clock.now)

    yield Backend(store, flush, lifetime)
    await store.close()


@contextlib.asynccontextmanager
async def in_redis(url: str) -> AsyncIterator[Backend]:
    store, console = RedisStore(url), redis.Redis.from_url(url)
    console.flushdb()

    async def flush() -> None:
        console.flushdb()

    async def lifetime(key: bytes) -> int:
        return int(console.ttl(key))

    yield Backend(store, flush, lifetime)
    await store.close()
    console.flushdb()
    console.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    if request.param == "memory":
        opened = in_memory()
    else:
        servers: TestServers = request.getfixturevalue("stack_servers")
        opened = in_redis(servers.redis.rsplit("/", 1)[0] + "/5")
    async with opened as made:
        yield made


async def all_keys(store: FeatureStore, prefix: bytes) -> set[bytes]:
    return {key async for chunk in store.scan(prefix) for key in chunk}


# --- reading and committing -----------------------------------------------------------------------------------------------


async def test_read_answers_in_the_order_asked_with_none_for_what_is_not_there(backend: Backend) -> None:
    writer = await backend.store.claim(MARKS)
    await writer.commit(Writes({A: b"1", B: b"\x00\xff\r\n"}))
    assert await backend.store.read([C, B, A, B]) == [None, b"\x00\xff\r\n", b"1", b"\x00\xff\r\n"]
    assert await backend.store.read([]) == []


async def test_a_commit_puts_deletes_and_moves_watermarks_together(backend: Backend) -> None:
    writer = await backend.store.claim(MARKS)
    await writer.commit(Writes({A: b"1", B: b"1"}, (), {"views": 4}))
    await writer.commit(Writes({B: b"2", C: b"2"}, {A}, {"clicks": 9}))
    assert await backend.store.read([A, B, C]) == [None, b"2", b"2"]
    assert dict(writer.watermarks) == await backend.store.watermarks(MARKS) == {"views": 4, "clicks": 9}


async def test_a_key_deleted_and_put_in_one_commit_is_there(backend: Backend) -> None:
    writer = await backend.store.claim(MARKS)
    await writer.commit(Writes({A: b"1"}))
    await writer.commit(Writes({A: b"2"}, [A]))
    assert await backend.store.read([A]) == [b"2"]


async def test_a_new_writer_reads_the_watermarks_that_the_last_one_left(backend: Backend) -> None:
    first = await backend.store.claim(MARKS)
    assert dict(first.watermarks) == {}
    await first.commit(Writes({}, (), {"views": 2**40, "clicks:3": 0}))
    await first.close()
    assert dict((await backend.store.claim(MARKS)).watermarks) == {"views": 2**40, "clicks:3": 0}
    assert await backend.store.watermarks(keys.user_watermarks_key(4)) == {}


async def test_an_empty_commit_changes_nothing(backend: Backend) -> None:
    writer = await backend.store.claim(MARKS)
    await writer.commit(Writes({A: b"1"}, (), {"views": 1}))
    await writer.commit(Writes())
    assert (await backend.store.read([A]), dict(writer.watermarks)) == ([b"1"], {"views": 1})


# --- fencing --------------------------------------------------------------------------------------------------------------


async def test_the_second_writers_commit_fences_the_first(backend: Backend) -> None:
    first = await backend.store.claim(MARKS)
    await first.commit(Writes({A: b"old"}, (), {"views": 1}))
    second = await backend.store.claim(MARKS)
    await second.commit(Writes({A: b"new"}, (), {"views": 2}))
    for _ in range(2):  # and it stays fenced
        with pytest.raises(Fenced):
            await first.commit(Writes({A: b"stale", B: b"stale"}, {C}, {"views": 3}))
    assert await backend.store.read([A, B]) == [b"new", None]
    assert await backend.store.watermarks(MARKS) == {"views": 2}
    await second.commit(Writes({A: b"newer"}, (), {"views": 3}))


async def test_a_claim_alone_fences_nobody(backend: Backend) -> None:
    first = await backend.store.claim(MARKS)
    await backend.store.claim(MARKS)
    await first.commit(Writes({A: b"1"}, (), {"views": 1}))
    assert await backend.store.read([A]) == [b"1"]


async def test_an_empty_commit_of_another_writer_fences_nobody(backend: Backend) -> None:
    first, second = await backend.store.claim(MARKS), await backend.store.claim(MARKS)
    await second.commit(Writes())
    await first.commit(Writes({A: b"1"}, (), {"views": 1}))
    with pytest.raises(Fenced):
        await second.commit(Writes())


async def test_a_flush_fences_the_writer(backend: Backend) -> None:
    writer = await backend.store.claim(MARKS)
    await writer.commit(Writes({A: b"1"}, (), {"views": 1}))
    await backend.flush()
    with pytest.raises(Fenced):
        await writer.commit(Writes({A: b"2"}, (), {"views": 2}))
    assert await backend.store.read([A]) == [None]
    assert dict((await backend.store.claim(MARKS)).watermarks) == {}


async def test_writers_of_different_partitions_do_not_meet(backend: Backend) -> None:
    first, second = await backend.store.claim(MARKS), await backend.store.claim(keys.user_watermarks_key(4))
    for offset in range(3):
        await first.commit(Writes({}, (), {"views": offset}))
        await second.commit(Writes({}, (), {"views": 10 + offset}))
    assert (dict(first.watermarks), dict(second.watermarks)) == ({"views": 2}, {"views": 12})


# --- single keys, expiry, scans -------------------------------------------------------------------------------------------


async def test_put_if_absent_keeps_the_first_value(backend: Backend) -> None:
    assert await backend.store.put_if_absent(A, b"1") == b"1"
    assert await backend.store.put_if_absent(A, b"2") == b"1"
    await backend.store.put(A, b"3")
    assert await backend.store.read([A]) == [b"3"]


async def test_only_keys_without_an_expiry_get_one(backend: Backend) -> None:
    await backend.store.put(A, b"1", 50)
    await backend.store.put(B, b"1")
    assert await backend.store.expire_unset([A, B, C], 900) == 1
    assert [await backend.lifetime(key) for key in (A, B)] == [50, 900]
    assert await backend.store.read([A, B, C]) == [b"1", b"1", None]
    assert await backend.store.expire_unset([], 900) == 0


async def test_every_write_clears_the_expiry(backend: Backend) -> None:
    writer = await backend.store.claim(MARKS)
    await backend.store.put(A, b"1", 50)
    await backend.store.put(B, b"1", 50)
    await backend.store.put(A, b"2")
    await writer.commit(Writes({B: b"2"}))
    assert [await backend.lifetime(key) for key in (A, B)] == [-1, -1]


async def test_scan_finds_exactly_the_keys_with_the_prefix(backend: Backend) -> None:
    wanted = {b"x*[a]?{1}\\^-" + bytes((c,)) for c in (0, 42, 63, 255)} | {b"x*[a]?{1}\\^-" + b"%d" % n for n in range(2500)}
    writer = await backend.store.claim(MARKS)
    await writer.commit(Writes(dict.fromkeys([*wanted, b"xx[a]?{1}\\^-", b"x*a?{1}^-1", A], b"1")))
    assert await all_keys(backend.store, b"x*[a]?{1}\\^-") == wanted
    assert await all_keys(backend.store, b"nothing") == set()


async def test_closing_twice_is_fine(backend: Backend) -> None:
    writer = await backend.store.claim(MARKS)
    for _ in range(2):
        await writer.close()
    for _ in range(2):
        await backend.store.close()
    assert writer.watermarks == {}


async def test_an_expired_key_is_gone() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.put(A, b"1", 10)
    await store.put(B, b"1", 10)
    await (await store.claim(MARKS)).commit(Writes({}, {B}))
    clock.now += 11
    assert await store.read([A, B]) == [None, None]
    assert await store.put_if_absent(A, b"2") == b"2"


# --- keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partition", [0, 3, 17, 1023])
def test_all_keys_of_a_partition_share_one_cluster_slot(partition: int) -> None:
    """So one MULTI may write them together on a Redis Cluster, whatever the ids contain."""
    made = {keys.user_watermarks_key(partition), keys.item_watermarks_key(partition), keys.trending_key(partition)}
    for name in ("42", "{9}", "}{", "{}", "ü", "a b"):
        for key_of in (keys.user_key, keys.profile_key, keys.session_key, keys.item_key, keys.category_trending_key):
            made.add(key_of(partition, name))
    made |= {b"damaged:" + key for key in made}
    assert {key_slot(key) for key in made} == {key_slot(b"%d" % partition)}


def test_no_two_things_share_a_key() -> None:
    per_name = [
        make(1, name)
        for make in (keys.user_key, keys.profile_key, keys.session_key, keys.item_key, keys.category_trending_key)
        for name in "ab"
    ]
    once = [make(1) for make in (keys.trending_key, keys.user_watermarks_key, keys.item_watermarks_key)]
    everything = [*per_name, *once, keys.worker_key("w"), keys.LAYOUT, keys.user_key(2, "a")]
    assert len(set(everything)) == len(everything)
