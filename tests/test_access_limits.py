"""Rate limits: the bucket, a process's own buckets, what is shared in Redis, and what a client is told."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest
import redis

from schemas.errors import InvalidSettings, StoreUnavailable
from schemas.settings import Settings
from serving.access.bucket import Rate, Verdict, spend
from serving.access.limiter import PREFIX, Limiter, OwnBuckets, SharedBuckets
from serving.access.presented import address_bucket
from tests.access_world import ADMIN, READER, WRITER, app_of, ask, bearer, scope_of, settings_with, with_keys
from tests.servers import TestServers
from tests.test_serving_world import cinema

SECOND = 1_000_000
FREE = Verdict(True, 1, 0, 0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Shared:
    """Buckets elsewhere that can be made to fail."""

    def __init__(self) -> None:
        self.asked = 0
        self.gone = False

    async def spend(self, bucket: bytes) -> Verdict:
        self.asked += 1
        if self.gone:
            raise StoreUnavailable("Redis: gone")
        return FREE

    async def close(self) -> None: ...


# --- the bucket


def test_a_full_bucket_gives_its_burst_and_then_one_each_interval() -> None:
    rate, full_at, given = Rate(per_second=2, burst=5), 0, []
    for now in range(10 * SECOND, 14 * SECOND, SECOND // 10):
        full_at, verdict = spend(full_at, now, rate)
        given.append(verdict.allowed)
    assert given[:6] == [True] * 5 + [True], "half a second has passed at the sixth"
    assert sum(given) == 5 + 7, "in 3.9 s seven more have come back"


def test_what_a_client_is_told_is_true() -> None:
    rng, rate, full_at, now = random.Random(5), Rate(per_second=7, burst=4), 0, SECOND
    for _ in range(2000):
        now += rng.randrange(0, SECOND // 4)
        full_at, verdict = spend(full_at, now, rate)
        if verdict.allowed:
            assert verdict.retry_us == 0
            left, state = 0, full_at
            while (taken := spend(state, now, rate))[1].allowed:
                left, state = left + 1, taken[0]
            assert left == verdict.remaining
        else:
            assert not spend(full_at, now + verdict.retry_us - 1, rate)[1].allowed
            assert spend(full_at, now + verdict.retry_us, rate)[1].allowed
        assert spend(full_at, now + verdict.full_us, rate)[1].remaining == rate.burst - 1


def test_a_clock_that_was_set_back_shuts_nobody_out() -> None:
    rate = Rate(per_second=1, burst=3)
    full_at, verdict = spend(10**15, SECOND, rate)
    assert (verdict.allowed, verdict.retry_us) == (False, SECOND)
    assert spend(full_at, 2 * SECOND, rate)[1].allowed


def test_own_buckets_are_apart_and_bounded() -> None:
    clock = Clock()
    own = OwnBuckets(Rate(1, 1), clock, most=3)
    assert [own.spend(name).allowed for name in (b"a", b"b", b"a", b"b")] == [True, True, False, False]
    for name in (b"c", b"d", b"e"):
        own.spend(name)
    assert len(own) == 3
    clock.now += 1
    assert own.spend(b"e").allowed


# --- without Redis


async def test_a_process_counts_for_itself_while_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    clock, shared, alone = Clock(), Shared(), []
    limiter = Limiter(Rate(0.001, 2), shared, lambda: True, lambda: alone.append(1), clock)
    assert await limiter.spend(b"a") == FREE
    shared.gone = True
    with caplog.at_level(logging.WARNING):
        assert [(await limiter.spend(b"a")).allowed for _ in range(4)] == [True, True, False, False]
    assert (shared.asked, len(alone), len(caplog.records)) == (2, 4, 1), "it is asked again after a pause, and told once"
    clock.now += 1
    shared.gone = False
    assert await limiter.spend(b"a") == FREE
    assert len(alone) == 4


async def test_redis_is_not_asked_while_the_store_is_known_to_be_gone() -> None:
    shared = Shared()
    limiter = Limiter(Rate(1, 1), shared, lambda: False, lambda: None, Clock())
    assert [(await limiter.spend(b"a")).allowed for _ in range(2)] == [True, False]
    assert shared.asked == 0


async def test_an_address_where_nobody_listens_costs_no_request() -> None:
    app = app_of(with_keys(rate_limit=0.01, rate_burst=2, redis="redis://127.0.0.1:9"))
    statuses = [(await ask(app, "GET", "/v1/popular", bearer(READER))).status for _ in range(4)]
    assert statuses == [200, 200, 429, 429]


# --- at the gate


async def test_too_many_calls_are_refused_and_told_when_to_come_back() -> None:
    world = cinema()
    given = with_keys(rate_limit=0.1, rate_burst=3)
    services = world.services(given)
    async with world.client(given, services) as client:
        client.headers["Authorization"] = f"Bearer {READER}"
        answers = [await client.get("/v1/popular") for _ in range(4)]
        others = [await client.get("/v1/popular", headers={"Authorization": f"Bearer {ADMIN}"}) for _ in range(3)]
        free = [await client.get(path) for path in ("/healthz", "/docs") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["ratelimit-limit"] == "3"
    assert refused.headers["ratelimit-policy"] == "3;w=30"
    assert refused.headers["retry-after"] in {"9", "10"}
    assert int(refused.headers["ratelimit-reset"]) in {29, 30}
    assert f"try again in {refused.headers['retry-after']} s" in refused.json()["detail"]
    assert {answer.status_code for answer in others} == {200}, "another key has another bucket"
    assert {answer.status_code for answer in free} == {200}
    assert "ratelimit-limit" not in free[0].headers
    count = services.metrics.registry.get_sample_value
    assert count("freshet_refused_total", {"reason": "too_often"}) == 1
    assert count("freshet_requests_total", {"route": "/v1/popular", "method": "GET", "status": "429"}) == 1
    assert count("freshet_limited_alone_total") == 7


async def test_without_keys_each_address_has_a_bucket() -> None:
    app = app_of(settings_with(rate_limit=0.01, rate_burst=1))
    statuses = [(await ask(app, "GET", "/v1/popular", address=host)).status for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]
    assert statuses == [200, 200, 429]
    assert (await ask(app, "GET", "/healthz", address="192.0.2.1")).status == 200
    assert (await ask(app, "GET", "/v1/users/ann", bearer("anything"), address="192.0.2.3")).status == 200, "nobody asks for a key"
    assert (await ask(app, "GET", "/v1/nothing", address="192.0.2.4")).status == 404


def test_an_address_is_its_ipv6_network_or_ipv4_address() -> None:
    def bucket(address: str) -> bytes:
        return address_bucket(scope_of("GET", "/", address=address))

    assert bucket("2001:db8::1") == bucket("2001:db8::ffff:1")
    assert bucket("2001:db8::1") != bucket("2001:db8:0:1::1")
    assert bucket("192.0.2.1") == bucket("::ffff:192.0.2.1") != bucket("192.0.2.2")
    assert bucket("\udcff odd") != bucket("")
    assert address_bucket({"headers": [], "client": None}) == address_bucket({"headers": []})


async def test_a_wrong_key_takes_no_token_and_a_missing_role_does() -> None:
    app = app_of(with_keys(rate_limit=0.01, rate_burst=2))
    assert [(await ask(app, "GET", "/v1/popular", bearer("wrong"))).status for _ in range(5)] == [401] * 5
    assert [(await ask(app, "GET", "/v1/popular", bearer(WRITER))).status for _ in range(3)] == [403, 403, 429]
    assert (await ask(app, "POST", "/v1/events", bearer(WRITER), b"[]")).status == 429


async def test_without_a_limit_nothing_is_counted_or_told() -> None:
    for settings in (settings_with(), with_keys()):
        answers = [await ask(app_of(settings), "GET", "/v1/popular", bearer(READER)) for _ in range(3)]
        assert {answer.status for answer in answers} == {200}
        assert not any(name.startswith("ratelimit") for name in answers[0].headers)


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "0.00001", "1e9", "often"])
def test_a_limit_that_makes_no_sense_stops_the_start(value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"FRESHET_RATE_LIMIT='{value}'"):
        Settings.from_environment({"FRESHET_RATE_LIMIT": value})


# --- in Redis


@pytest.mark.integration
async def test_redis_says_what_the_bucket_says(stack_servers: TestServers) -> None:
    """The script and the function side by side, by the clock of Redis."""
    rng, rate = random.Random(9), Rate(per_second=40, burst=6)
    client = redis.Redis.from_url(stack_servers.redis)
    client.delete(PREFIX + b"same")
    shared = SharedBuckets(stack_servers.redis, rate, 5.0)
    seen = set()
    for _ in range(200):
        before = int(client.get(PREFIX + b"same") or 0)
        verdict = await shared.spend(b"same")
        seconds, micros = client.time()
        after = int(client.get(PREFIX + b"same") or 0)
        now = (after or before) - verdict.full_us  # the moment that the script read
        assert 0 <= seconds * SECOND + micros - now < SECOND
        assert spend(before, now, rate) == (after or before, verdict)
        seen.add(verdict.allowed)
        await asyncio.sleep(rng.choice([0, 0, 0.002, 0.03]))
    assert seen == {True, False}
    await shared.close()
    wait = client.pttl(PREFIX + b"same") / 1000
    assert 0 < wait <= 6 / 40 + 0.01
    await asyncio.sleep(wait + 0.05)
    assert not client.exists(PREFIX + b"same"), "a full bucket is no key"


@pytest.mark.integration
async def test_many_at_once_never_get_more_than_there_is(stack_servers: TestServers) -> None:
    rate = Rate(per_second=0.01, burst=25)
    redis.Redis.from_url(stack_servers.redis).delete(PREFIX + b"crowd")
    ends = [SharedBuckets(stack_servers.redis, rate, 5.0) for _ in range(3)]
    verdicts = await asyncio.gather(*(end.spend(b"crowd") for end in ends for _ in range(60)))
    assert sum(verdict.allowed for verdict in verdicts) == 25
    assert sorted(verdict.remaining for verdict in verdicts if verdict.allowed) == list(range(25))
    for end in ends:
        await end.close()


@pytest.mark.integration
async def test_a_key_that_holds_something_else_costs_no_request(stack_servers: TestServers) -> None:
    client = redis.Redis.from_url(stack_servers.redis)
    for value in (b"text", b"nan"):
        client.set(PREFIX + b"odd", value)
        shared = SharedBuckets(stack_servers.redis, Rate(0.01, 1), 5.0)
        limiter = Limiter(Rate(0.01, 1), shared, lambda: True, lambda: None)
        assert [(await limiter.spend(b"odd")).allowed for _ in range(2)] in ([True, False], [True, True], [False, False])
        await limiter.close()
    client.delete(PREFIX + b"odd")
