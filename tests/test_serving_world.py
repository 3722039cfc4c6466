"""A world for the tests of serving: the real stages fill a MemoryStore, the real app answers from it, the log is a fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from feature_store.catalogue import Catalogue
from feature_store.decision_store import DecisionStore
from feature_store.memory import MemoryStore
from schemas.errors import KafkaUnavailable
from schemas.events import TYPE_CODES, Event
from schemas.ids import partition_of
from schemas.settings import Settings
from serving.app import create_app
from serving.event_log import Record
from serving.services import Services, assemble
from stream_workers.handlers.item_stage import ItemStage
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.signals import Signals, decode_signals
from stream_workers.handlers.user_batch import UserBatch
from stream_workers.handlers.user_stage import UserStage
from stream_workers.models.online.settings import BankSettings

NUMBERS = BankSettings(vector_size=8, mf_size=8, covisit_neighbours=32)
NOW = 1_767_258_000_000  # 2026-01-01T09:00:00Z
PARTITIONS = 2
SETTINGS = Settings(partitions=PARTITIONS, store_timeout_ms=50)


class FakeLog:
    """A log that keeps what is appended, or is away."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.connected = True

    async def start(self) -> None: ...

    async def append(self, records: Sequence[Record]) -> None:
        if not self.connected:
            raise KafkaUnavailable("Kafka did not acknowledge within 5 s")
        self.records += records

    async def stop(self) -> None: ...

    def of_topic(self, topic: str) -> list[Any]:
        return [orjson.loads(record.value) for record in self.records if record.topic == topic]


class CountingStore(MemoryStore):
    """A MemoryStore that counts round trips and can be made to fail or to hang."""

    def __init__(self) -> None:
        super().__init__()
        self.round_trips = 0
        self.fault: BaseException | None = None
        self.hangs = False

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.round_trips += 1
        if self.hangs:
            await asyncio.sleep(3600)
        if self.fault is not None:
            raise self.fault
        return await super().read(keys)


@dataclass
class World:
    """Store, catalogue and log; `learn` plays the worker."""

    store: CountingStore = field(default_factory=CountingStore)
    catalogue: Catalogue = field(default_factory=Catalogue)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    log: FakeLog = field(default_factory=FakeLog)
    now: int = NOW
    numbers: BankSettings = NUMBERS
    decisions: DecisionStore | None = None

    def __post_init__(self) -> None:
        self.caught_up.set()
        settings = ModelSettings(partitions=PARTITIONS)
        self._users = [UserStage(p, settings, self.catalogue) for p in range(PARTITIONS)]
        self._items = [ItemStage(p, settings, {}) for p in range(PARTITIONS)]
        self._offset = 0

    def add_item(self, item_id: str, title: str | None = None, **fields: Any) -> None:
        self.catalogue.apply(item_id.encode(), orjson.dumps({"item_id": item_id, "title": title, **fields}))

    def learn(self, *events: tuple[str, str, str, int]) -> None:
        """Apply events (user, item, type, ms before `now`) as the worker would."""
        batches = [UserBatch() for _ in range(PARTITIONS)]
        for user, item, kind, ago in events:
            when = self.now - ago
            event = Event(user, item, TYPE_CODES[kind], when, None)
            batches[partition_of(user, PARTITIONS)].append(event, "clicks", self._offset, when, None)
            self._offset += 1
        signals: list[list[Signals]] = [[] for _ in range(PARTITIONS)]
        for stage, batch in zip(self._users, batches, strict=True):
            missing = stage.missing(batch)
            stage.load(missing, [None] * len(missing))
            output = stage.apply(batch, self.now + 31)
            self.store.blobs.update(output.puts)
            for target, value in (message for wave in output.waves for message in wave):
                signals[target].append(decode_signals(value))
        for item_stage, messages in zip(self._items, signals, strict=True):
            self._learn_items(item_stage, messages)

    def _learn_items(self, stage: ItemStage, messages: list[Signals]) -> None:
        missing = stage.missing(messages)
        stage.load(missing, [None] * len(missing))
        stage.apply(messages)
        by_category: dict[str, list[str]] = {}
        for item in stage.touched_items():
            for category in self.catalogue.categories(item):
                by_category.setdefault(category, [*(stage.leaders_of(category) or [])]).append(item)
        self.store.blobs.update(stage.changes())
        self.store.blobs.update(stage.trending(by_category))

    def services(self, settings: Settings = SETTINGS) -> Services:
        return assemble(
            settings, self.store, self.log, self.catalogue, self.caught_up, clock=lambda: self.now, numbers=self.numbers,
            decisions=self.decisions,
        )  # fmt: skip

    @asynccontextmanager
    async def client(self, settings: Settings = SETTINGS, services: Services | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the running app; unexpected errors come as answers, not as exceptions."""
        app = create_app(settings, services or self.services(settings))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            yield client


def cinema() -> World:
    """Three people who watch horror together, two who watch comedies, and Ann, who watched Alien a minute ago."""
    world = World()
    for item, title, category in (
        ("1", "Alien", "Horror"), ("2", "Aliens", "Horror"), ("3", "The Thing", "Horror"), ("4", "Scream", "Horror"),
        ("5", "Airplane!", "Comedy"), ("6", "Top Secret!", "Comedy"), ("7", "Hot Shots!", "Comedy"), ("8", "Shrek", "Comedy"),
    ):  # fmt: skip
        world.add_item(item, title, categories=[category])
    events = [(f"h{u}", item, "click", 3_600_000 * (10 - at)) for u in range(3) for at, item in enumerate("1234")]
    events += [(f"c{u}", item, "click", 3_600_000 * (10 - at)) for u in range(2) for at, item in enumerate("5678")]
    world.learn(*sorted(events, key=lambda event: -event[3]))
    world.learn(("ann", "1", "view", 60_000))
    return world


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = dict(response.json())
    assert document["status"] == status
    assert {"type", "title", "detail"} <= document.keys()
    return document


async def get(world: World, path: str, **params: Any) -> httpx.Response:
    async with world.client() as client:
        return await client.get(path, params=params)


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


async def recommend(world: World, user: str = "ann", **params: Any) -> dict[str, Any]:
    async with world.client() as client:
        response = await client.get(f"/v1/users/{user}/recommendations", params=params)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def recommend_from(world: World, **body: Any) -> dict[str, Any]:
    async with world.client() as client:
        response = await client.post("/v1/recommendations", json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())
