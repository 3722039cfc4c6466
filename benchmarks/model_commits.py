"""What a commit of the online models costs: bytes into Redis, CPU of the learner, CPU of each API that follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from statistics import mean, median
from typing import Any, NamedTuple

import orjson
from numpy.typing import NDArray

from benchmarks.learned_store import describe, learn
from benchmarks.rig import catalogue, events
from benchmarks.row import Row
from feature_store.memory import MemoryStore
from feature_store.model_pages import PageWriter
from serving.guarded_store import GuardedStore
from serving.model_replica import ModelReplica
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.scoring_bank import ScoringBank

BEFORE, USERS = 200_000, 10_000
BETWEEN = (100, 500, 1000)  # events learnt from one commit to the next
COMMITS, COUNTED = 40, 15  # the later ones count: by then, pages are rewritten as fast as they become stale


class WholePages(PageWriter):
    """Writes every page that changed, and no deltas: what it always does when somebody is forgotten."""

    def _takes_out(self, state: Mapping[str, NDArray[Any]]) -> bool:
        return True


class Cost(NamedTuple):
    """Of one commit: bytes written, CPU ms of the writer, CPU ms of one API."""

    bytes: float
    commit: float
    refresh: float


class Followed:
    """A writer and an API that follows it, on a store of their own."""

    def __init__(self, pages: PageWriter, origin: str) -> None:
        self._pages = pages
        self._store = MemoryStore()
        self._replica = ModelReplica(GuardedStore(self._store, 1.0), ScoringBank, origin)

    async def commit(self, state: Mapping[str, NDArray[Any]], events_learnt: int) -> Cost:
        """Write and follow."""
        started = time.process_time()
        changes = self._pages.changes(state, events_learnt, 0)
        packed = time.process_time()
        for key in changes.deletes:
            del self._store.blobs[key]
        self._store.blobs |= changes.puts
        stored = time.process_time()
        await self._replica.refresh()
        return Cost(changes.bytes, 1000 * (packed - started), 1000 * (time.process_time() - stored))


def run() -> list[Row]:
    """10,000 users and 10,000 items, the default models; both writers commit the same states."""
    return asyncio.run(_run())


async def _run() -> list[Row]:
    bank, stream = ModelBank(), _stream()
    describe(bank, catalogue())
    learn(bank, stream, BEFORE)
    origin = origin_of(BankSettings())
    deltas, whole = Followed(PageWriter(1, origin), origin), Followed(WholePages(1, origin), origin)
    rows: list[Row] = []
    for count in BETWEEN:
        costs: list[tuple[Cost, Cost]] = []
        for _ in range(COMMITS):
            learn(bank, stream, count)
            costs.append((await deltas.commit(bank.state(), bank.learnt), await whole.commit(bank.state(), bank.learnt)))
        ours, theirs = zip(*costs[-COUNTED:], strict=True)
        rows += _rows(count, ours, theirs)
    return rows


def _rows(count: int, ours: tuple[Cost, ...], theirs: tuple[Cost, ...]) -> list[Row]:
    mine, other = (Cost(mean(c.bytes for c in cost), *_medians(cost)) for cost in (ours, theirs))
    units = {"bytes": "bytes", "commit": "ms CPU", "refresh": "ms CPU"}
    return [
        Row(f"model_commits/{count}/{name}", value, units[name], "whole pages", value / other._asdict()[name])
        for name, value in mine._asdict().items()
    ]


def _medians(costs: tuple[Cost, ...]) -> tuple[float, float]:
    return median(c.commit for c in costs), median(c.refresh for c in costs)


def _stream() -> Iterator[dict[str, Any]]:
    return (orjson.loads(value) for _, _, value in events(BEFORE + COMMITS * sum(BETWEEN), USERS))
