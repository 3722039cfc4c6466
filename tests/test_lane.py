"""Who waits, who is refused, and what holds a slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from schemas.settings import Settings
from serving.access.gate import Gate
from serving.app import create_app
from serving.lane import Lane
from serving.metrics import Metrics
from serving.overload import ANSWERS, EVENTS, NEVER_REFUSED, Lanes, Overload
from tests.test_serving_world import SETTINGS, World

MS = 0.001


async def settled(*coming: Awaitable[Any]) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(one) for one in coming]
    await asyncio.sleep(0)
    return tasks  # type: ignore[return-value]


async def test_slots_go_to_those_who_wait_in_their_order() -> None:
    lane, came = Lane(2, 1.0, 0.1), list[int]()

    async def request(number: int) -> None:
        assert await lane.enter()
        came.append(number)

    tasks = await settled(*map(request, range(5)))
    assert (came, lane.working, lane.waiting) == ([0, 1], 2, 3)
    for _ in range(5):
        lane.leave()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert (came, lane.working, lane.waiting) == ([0, 1, 2, 3, 4], 0, 0)


async def test_nobody_waits_longer_than_the_patience_though_no_slot_is_ever_left() -> None:
    lane = Lane(1, 20 * MS, 2 * MS)
    assert await lane.enter()
    async with asyncio.timeout(1):
        assert not await lane.enter()
    lane.leave()
    assert await lane.enter(), "as before"


async def test_a_burst_may_wait_and_a_queue_that_stays_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, moment = asyncio.get_running_loop(), [1000.0]
    monkeypatch.setattr(loop, "time", lambda: moment[0])
    lane = Lane(1, 0.100, 0.010)
    assert await lane.enter()
    waiting = await settled(lane.enter())
    for _ in range(4):  # somebody waits all the time, each of them for 30 ms
        moment[0] += 0.030
        waiting += await settled(lane.enter())
        lane.leave()
    answers = await asyncio.gather(*waiting)
    assert answers == [True, True, True, False, True], "after 120 ms, 30 ms are too long; who has just come has a chance"


async def test_without_a_patience_everybody_waits() -> None:
    lane = Lane(1, 0, 0)
    assert await lane.enter()
    waiting = await settled(*(lane.enter() for _ in range(50)))
    await asyncio.sleep(20 * MS)
    for _ in waiting:
        lane.leave()
    assert all(await asyncio.gather(*waiting))


@pytest.mark.parametrize("late", [False, True], ids=["while waiting", "when its turn has come"])
async def test_a_request_that_is_given_up_takes_no_slot_with_it(late: bool) -> None:
    lane = Lane(1, 1.0, 0.1)
    assert await lane.enter()
    (gone,) = await settled(lane.enter())
    if late:
        lane.leave()
    gone.cancel()
    await asyncio.wait([gone])
    if not late:
        lane.leave()
    assert (lane.working, lane.waiting) == (0, 0)
    assert await lane.enter()


async def test_one_request_a_turn_begins() -> None:
    """Others are looked at in between, however many have slots."""
    lane, seen = Lane(8, 1.0, 0.1), list[str]()

    async def request() -> None:
        assert await lane.enter()
        await lane.begin()
        seen.append("request")

    async def another() -> None:
        while seen.count("request") < 4:
            seen.append("another")
            await asyncio.sleep(0)

    await asyncio.gather(*(request() for _ in range(4)), another())
    assert "request request" not in " ".join(seen)


def scope(method: str, path: str) -> Scope:
    return {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}


class Behind:
    """An app that answers when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()
        self.came = asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        self.came.release()
        await receive()
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def told(edge: Overload, method: str, path: str, receive: Receive = nothing_more) -> int:
    statuses: list[int] = []

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    await edge(scope(method, path), receive, send)
    return statuses[0]


@pytest.fixture
async def full() -> AsyncIterator[tuple[Overload, Behind, Lanes]]:
    """Both slots of the answers are taken, one of two of the events."""
    behind = Behind()
    lanes = {ANSWERS: Lane(2, 10 * MS, MS), EVENTS: Lane(2, 10 * MS, 10 * MS)}
    edge = Overload(behind, lanes, Metrics())
    held = [asyncio.ensure_future(told(edge, *call)) for call in [("GET", "/v1/popular")] * 2 + [("POST", "/v1/events")]]
    for _ in held:
        await behind.came.acquire()
    yield edge, behind, lanes
    behind.go_on.set()
    assert await asyncio.gather(*held) == [200, 200, 200]
    assert [lane.working for lane in lanes.values()] == [0, 0]


async def test_what_is_too_much_is_refused_before_anything_is_done(full: tuple[Overload, Behind, Lanes]) -> None:
    edge, behind, _ = full
    assert await told(edge, "GET", "/v1/users/ann/recommendations") == 503
    assert behind.begun == 3


async def test_events_are_taken_while_answers_are_refused(full: tuple[Overload, Behind, Lanes]) -> None:
    edge, behind, _ = full
    taken = asyncio.ensure_future(told(edge, "POST", "/v1/events"))
    await behind.came.acquire()
    assert await told(edge, "POST", "/v1/events") == 503, "but not without end"
    behind.go_on.set()
    assert await taken == 200


@pytest.mark.parametrize("path", sorted(NEVER_REFUSED))
async def test_health_is_never_refused(full: tuple[Overload, Behind, Lanes], path: str) -> None:
    edge, behind, _ = full
    behind.go_on.set()
    assert await told(edge, "GET", path) == 200


async def test_a_request_whose_body_does_not_come_holds_no_slot() -> None:
    lanes = {ANSWERS: Lane(1, 10 * MS, MS), EVENTS: Lane(1, 10 * MS, MS)}
    behind, more = Behind(), asyncio.Event()
    behind.go_on.set()
    edge = Overload(behind, lanes, Metrics())

    async def slow() -> Message:
        await more.wait()
        return await nothing_more()

    (waiting,) = await settled(told(edge, "POST", "/v1/rank", slow))
    assert (lanes[ANSWERS].working, behind.begun) == (0, 0)
    more.set()
    assert await waiting == 200


async def test_a_client_that_does_not_read_holds_no_slot() -> None:
    lanes = {ANSWERS: Lane(1, 10 * MS, MS), EVENTS: Lane(1, 10 * MS, MS)}
    behind, reads = Behind(), asyncio.Event()
    behind.go_on.set()

    async def send(message: Message) -> None:
        await reads.wait()

    (sending,) = await settled(Overload(behind, lanes, Metrics())(scope("GET", "/v1/popular"), nothing_more, send))
    await behind.came.acquire()
    await asyncio.sleep(0)
    assert lanes[ANSWERS].working == 0
    reads.set()
    await sending
    assert lanes[ANSWERS].working == 0


async def test_bodies_are_what_they_were() -> None:
    """Also one that is larger than it may be: whoever asks for it is told."""
    async with World().client() as client:
        whole = await client.post("/v1/rank", content=b'{"candidates": [' + b'"x",' * 50_000 + b'"y"]}')
        assert whole.status_code == 422, "read to its end: too many"

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 100_000

        assert (await client.post("/v1/rank", content=endless())).status_code == 413


def test_what_the_gate_refuses_never_gets_into_a_lane() -> None:
    app = create_app(SETTINGS, World().services())
    order = [one.cls for one in app.user_middleware]
    assert order.index(Gate) < order.index(Overload)


async def test_the_app_refuses_with_a_problem_document_and_counts() -> None:
    world = World()
    settings = Settings(partitions=2, concurrency=1, queue_ms=10, store_timeout_ms=200)
    async with world.client(settings) as client:
        world.store.hangs = True
        first = asyncio.ensure_future(client.get("/v1/users/ann/recommendations"))
        await asyncio.sleep(20 * MS)
        refused: httpx.Response = await client.get("/v1/users/bob/recommendations")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert refused.json()["title"] == "Service Unavailable"
        assert (await first).status_code == 200
        shown = (await client.get("/metrics")).text
    assert 'freshet_refused_total{reason="overload"} 1.0' in shown
    assert 'freshet_lane_working{lane="answers"} 0.0' in shown
