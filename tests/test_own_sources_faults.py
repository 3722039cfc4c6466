"""What a product team's own source does wrong costs at most its time budget, by HTTP and in Python."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event, current_thread
from types import ModuleType
from typing import Any

import pytest

from schemas.errors import SourceFailed
from serving.candidates import own_python
from serving.candidates.answer import MAX_ANSWERED
from serving.candidates.breaker import AFTER
from serving.plan import plan_of
from serving.query import RecommendationQuery
from serving.services import Services
from tests.own_world import BUDGET_MS, DEAD, JSON, Shop, asking, declared, failures, follow, recommend, shop
from tests.test_serving_world import cinema, ids

MACHINE_SECONDS = 0.25  # what a busy machine may take for the rest, at the best of three tries
PLAIN = ["2", "3", "4", "8", "7", "6", "5"]


@pytest.fixture
async def editors() -> AsyncIterator[Shop]:
    async with shop() as made:
        yield made


MB = b"[" + b'"x",' * 1_250_000 + b'"x"]'
WRONG = {
    "hang": ("hang", "timeout"),
    "slow drip": ("drip", "timeout"),
    "closed": ("close", "unreachable"),
    "500": (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "status"),
    "redirect loop": (b"HTTP/1.1 302 Found\r\nlocation: /candidates\r\ncontent-length: 0\r\n\r\n", "status"),
    "5 MB": (JSON % len(MB) + MB, "too_large"),
    "5 MB without end": (b"HTTP/1.1 200 OK\r\n\r\n" + MB, "too_large"),
    "compressed": (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00", "garbage"),
    "not HTTP": (b"hello\r\n\r\n", "unreachable"),
    "not JSON": (JSON % 7 + b"[hello]", "garbage"),
    "no list": ({"items": ["7"]}, "garbage"),
    "numbers": ([1, 2], "garbage"),
    "one bad id": (["7", "a\nb"], "garbage"),
    "an empty id": ([""], "garbage"),
    "a long id": (["x" * 257], "garbage"),
    "null scores": ([{"item_id": "7", "score": None}], "garbage"),
    "half scored": ([{"item_id": "7", "score": 1}, "8"], "garbage"),
    "too many": (["x"] * (MAX_ANSWERED + 1), "garbage"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_goes_wrong_costs_the_budget_at_most_and_is_counted(wrong: str, editors: Shop, tmp_path: Path) -> None:
    world = cinema()
    editors.behaviour, reason = WRONG[wrong]
    services = await follow(asking(world, tmp_path, declared(editors)))
    async with world.client(services=services) as client:
        took = []
        for _ in range(3):
            started = time.perf_counter()
            answer = await recommend(client, explain=True)
            took.append(time.perf_counter() - started)
        assert await failures(client, 3) == {reason: 3.0}
    assert ids(answer) == PLAIN
    assert answer["degraded"] is None
    assert answer["explanation"]["own_sources"] == {"editors": {"items": 0, "failure": reason}}
    assert min(took) < BUDGET_MS / 1000 + MACHINE_SECONDS


async def test_nobody_listens(tmp_path: Path) -> None:
    world = cinema()
    services = await follow(asking(world, tmp_path, DEAD))
    async with world.client(services=services) as client:
        assert ids(await recommend(client))
        assert await failures(client, 1) == {"unreachable": 1.0}


async def test_it_is_asked_beside_the_store(editors: Shop, tmp_path: Path) -> None:
    """The question has arrived before the store, which is slow, has answered."""
    world = cinema()
    services = await follow(asking(world, tmp_path, declared(editors, timeout_ms=1000), store_timeout_ms=5000))
    read, asked_before = world.store.read, []

    async def slowly(keys: Any) -> Any:
        for _ in range(200):
            if editors.asked:
                break
            await asyncio.sleep(0.005)
        asked_before.append(len(editors.asked))
        return await read(keys)

    world.store.read = slowly  # type: ignore[method-assign]
    await services.recommender.recommend(*planned(services))
    assert asked_before[0] == 1


def planned(services: Services) -> Any:
    query = RecommendationQuery(user_id="ann")
    return query, plan_of(query, services.surfaces.current)


async def test_one_that_keeps_failing_is_left_alone_and_asked_again_later(editors: Shop, tmp_path: Path) -> None:
    world = cinema()
    services = await follow(asking(world, tmp_path, declared(editors)))
    editors.behaviour = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"
    async with world.client(services=services) as client:
        for _ in range(AFTER + 3):
            await recommend(client)
        assert len(editors.asked) == AFTER
        assert await failures(client, AFTER + 3) == {"status": AFTER, "open": 3.0}
        editors.behaviour = ["7"]
        services.recommender._own["editors"]._breaker._again = 0.0  # its second is over
        answer = await recommend(client, explain=True)
        assert answer["explanation"]["own_sources"] == {"editors": {"items": 1, "failure": None}}
        await recommend(client)
    assert len(editors.asked) == AFTER + 2


async def test_many_requests_at_once_wait_for_a_hanging_one_together(editors: Shop, tmp_path: Path) -> None:
    """All of 60 requests are answered within a few budgets, and only so many connections were opened."""
    world = cinema()
    services = await follow(asking(world, tmp_path, declared(editors)))
    editors.behaviour = "hang"
    async with world.client(services=services) as client:
        started = time.perf_counter()
        answers = await asyncio.gather(*[recommend(client) for _ in range(60)])
        took = time.perf_counter() - started
        counted = await failures(client, 60)
    assert all(ids(answer) for answer in answers)
    assert counted.keys() <= {"timeout", "busy", "open"} and sum(counted.values()) == 60
    assert len(editors.asked) <= 32
    assert took < 3.0, "a hang is 60 s"


# --- in Python


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("shop_sources")
    monkeypatch.setitem(sys.modules, "shop_sources", made)
    return made


async def python_answer(module: ModuleType, tmp_path: Path, call: Any) -> tuple[dict[str, Any], float]:
    module.seasonal = call  # type: ignore[attr-defined]
    world = cinema()
    services = await follow(
        asking(
            world,
            tmp_path,
            "{seasonal: {python: 'shop_sources:seasonal', timeout_ms: 60}}",
            "{sources: {own: {seasonal: 10}}}",
        )
    )
    async with world.client(services=services) as client:
        took = []
        for _ in range(3):
            started = time.perf_counter()
            answer = await recommend(client, explain=True)
            took.append(time.perf_counter() - started)
        return answer, min(took)


def forever(question: Any) -> Any:
    time.sleep(5)


def endless(question: Any) -> Any:
    while True:
        yield "7"


def refusing(question: Any) -> Any:
    raise SystemExit("no")


async def test_a_callable_is_asked_off_the_event_loop(module: ModuleType, tmp_path: Path) -> None:
    threads: list[str] = []

    def seasonal(question: dict[str, Any]) -> Any:
        threads.append(current_thread().name)
        question["user_id"] = question.pop("context")  # whatever it does to its question
        yield from ["8", "7"]

    answer, _ = await python_answer(module, tmp_path, seasonal)
    assert ids(answer)[:2] == ["8", "7"]
    assert set(threads) == {"own-source"}


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        (forever, "timeout"),
        (endless, "garbage"),
        (refusing, "raised"),
        (lambda question: 1 / 0, "raised"),
        (lambda question: None, "garbage"),
        (lambda question: "78", "garbage"),
        (lambda question: {"7": 1}, "garbage"),
        (lambda question: [float("nan")], "garbage"),
        (lambda question: [{"item_id": "7", "score": float("nan")}], "garbage"),
    ],
)
async def test_a_callable_that_goes_wrong(call: Any, failure: str, module: ModuleType, tmp_path: Path) -> None:
    answer, took = await python_answer(module, tmp_path, call)
    assert answer["explanation"]["own_sources"] == {"seasonal": {"items": 0, "failure": failure}}
    assert ids(answer)
    assert took < BUDGET_MS / 1000 + MACHINE_SECONDS


async def test_callables_that_hang_do_not_pile_up(module: ModuleType) -> None:
    release = Event()
    source = own_python.PythonSource(lambda question: release.wait(10) and [])
    hanging = [asyncio.create_task(source.fetch({})) for _ in range(own_python.AT_ONCE)]  # type: ignore[typeddict-item]
    await asyncio.sleep(0.01)
    with pytest.raises(SourceFailed, match="busy"):
        await source.fetch({})  # type: ignore[typeddict-item]
    hanging[0].cancel()  # the request gave up; the thread is still there
    with pytest.raises(SourceFailed, match="busy"):
        await source.fetch({})  # type: ignore[typeddict-item]
    release.set()
    assert [await one for one in hanging[1:]] == [[]] * (own_python.AT_ONCE - 1)
    assert await source.fetch({}) == []  # type: ignore[typeddict-item]
