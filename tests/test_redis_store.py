"""What only a real Redis can show: lost servers and connections, refused commands, round trips."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from feature_store import keys
from feature_store.port import Writes
from feature_store.redis_store import RedisStore
from schemas.errors import Fenced, StoreUnavailable
from tests.servers import TestServers, start_servers

pytestmark = pytest.mark.integration
MARKS = keys.user_watermarks_key(3)
A, B = keys.user_key(3, "a"), keys.user_key(3, "b")
Own = tuple[TestServers, RedisStore]


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServers]:
    with start_servers(tmp_path_factory.mktemp("store-servers")) as servers:
        yield servers


@pytest.fixture
async def own_redis(own_servers: TestServers) -> AsyncIterator[Own]:
    own_servers.start_redis()
    redis.Redis.from_url(own_servers.redis).flushall()
    store = RedisStore(own_servers.redis, timeout_seconds=1.0)
    yield own_servers, store
    await store.close()
    own_servers.start_redis()


async def test_reading_any_number_of_keys_is_one_command(own_redis: Own) -> None:
    servers, store = own_redis
    console = redis.Redis.from_url(servers.redis)
    await store.read([A])
    before = console.info("stats")["total_commands_processed"]
    await store.read([keys.user_key(3, str(n)) for n in range(500)])
    assert console.info("stats")["total_commands_processed"] - before == 2  # MGET, and the first INFO itself
    assert store.round_trips == 2


async def test_a_refused_command_in_a_transaction_writes_nothing(own_redis: Own) -> None:
    servers, store = own_redis
    console = redis.Redis.from_url(servers.redis)
    writer = await store.claim(MARKS)
    await writer.commit(Writes({A: b"1"}, (), {"views": 1}))
    console.config_set("maxmemory", 1)  # MSET and HSET are refused, DEL is not
    try:
        with pytest.raises(StoreUnavailable, match="OutOfMemory"):
            await writer.commit(Writes({B: b"2"}, {A}, {"views": 2}))
    finally:
        console.config_set("maxmemory", 0)
    assert await store.read([A, B]) == [b"1", None]
    assert await store.watermarks(MARKS) == {"views": 1}


async def test_a_writer_whose_connection_broke_says_so_and_a_new_claim_tells_what_stands(
    own_redis: Own,
) -> None:
    servers, store = own_redis
    writer = await store.claim(MARKS)
    await writer.commit(Writes({A: b"1"}, (), {"views": 1}))
    redis.Redis.from_url(servers.redis).client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(StoreUnavailable):
        await writer.commit(Writes({A: b"2"}, (), {"views": 2}))
    again = await store.claim(MARKS)
    assert dict(again.watermarks) == {"views": 1}
    await again.commit(Writes({A: b"2"}, (), {"views": 2}))
    assert await store.read([A]) == [b"2"]


async def test_a_write_between_two_commits_of_one_writer_fences_it(own_redis: Own) -> None:
    servers, store = own_redis
    writer = await store.claim(MARKS)
    await writer.commit(Writes({}, (), {"views": 1}))
    redis.Redis.from_url(servers.redis).hset(MARKS.decode(), "views", 0)
    with pytest.raises(Fenced):
        await writer.commit(Writes({A: b"2"}, (), {"views": 2}))
    assert await store.read([A]) == [None]


@pytest.mark.parametrize("kill", [True, False])
async def test_a_stopped_server_is_unavailable_at_once_and_usable_after_its_return(own_redis: Own, kill: bool) -> None:
    servers, store = own_redis
    writer = await store.claim(MARKS)
    await writer.commit(Writes({A: b"1"}, (), {"views": 1}))
    await asyncio.sleep(1.1 if kill else 0)  # appendfsync everysec
    servers.stop_redis(kill)
    for call in (lambda: writer.commit(Writes({A: b"2"}, (), {"views": 2})), lambda: store.read([A]), lambda: store.claim(MARKS),
                 lambda: store.watermarks(MARKS), lambda: store.put(A, b"3"), lambda: store.expire_unset([A], 5)):  # fmt: skip
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(call(), 20)
        assert time.monotonic() - started < 3
    servers.start_redis()
    assert await store.read([A]) == [b"1"]
    assert dict((await store.claim(MARKS)).watermarks) == {"views": 1}


async def test_a_server_that_hangs_is_unavailable_after_the_timeout(own_redis: Own) -> None:
    servers, store = own_redis
    writer = await store.claim(MARKS)
    await store.read([A])
    redis.Redis.from_url(servers.redis).execute_command("CLIENT", "PAUSE", 6000)
    for call in (lambda: store.read([A]), lambda: writer.commit(Writes({A: b"1"}, (), {"views": 1}))):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(call(), 20)
        assert time.monotonic() - started < 2
