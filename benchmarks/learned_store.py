"""A store as the workers and the learner leave it, filled without Kafka: their own pipelines and models, fed directly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import orjson
from aiokafka.structs import ConsumerRecord

from benchmarks.rig import Record, Rig, catalogue, events
from feature_store.catalogue import Catalogue
from feature_store.model_pages import PageWriter
from ops.log_replay import LogReplay
from schemas.ids import partition_of
from schemas.settings import Settings
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.settings import BankSettings

USERS: Final = 10_000
MORE_EVENTS: Final = 100_000  # beside one of every item
_BATCH: Final = 4000
_RANKED: Final = 200  # of 100,000 items, ranking all by every model takes longer than everything else
_KEYS: Final = 1000


def fill(bench: Rig, items: int) -> dict[str, Any]:
    """Put a catalogue into Kafka, and into Redis what workers and learner make of one event of every item and 100,000 more.

    Returns:
        Settings that an API of this store needs.
    """
    records = catalogue(items)
    bench.produce(records)
    log = list(_log(items))
    _write(bench, asyncio.run(_worked(bench.settings, records, log)))
    numbers = BankSettings(max_items=max(BankSettings().max_items, items + 1))
    _write(bench, _learnt(numbers, records, log))
    path = bench.folder / "models.json"
    path.write_bytes(orjson.dumps({"max_items": numbers.max_items}))
    return {"model_settings": path}


def describe(bank: ModelBank, records: Iterable[Record]) -> None:
    """Tell the bank what the catalogue says."""
    for record in (orjson.loads(value) for _, _, value in records):
        bank.describe(record["item_id"], record["categories"], record["title"])


def learn(bank: ModelBank, stream: Iterator[dict[str, Any]], count: int, ranked: int = 50) -> None:
    """Learn the next events, one in so many of them ranked: from these the blend learns."""
    for start in range(0, count, _BATCH):
        part = list(islice(stream, min(_BATCH, count - start)))
        users, items, times = ([event[name] for event in part] for name in ("user_id", "item_id", "timestamp"))
        bank.advance(Interactions.taken(users, items, np.array(times, np.int64)), np.arange(len(part)) % ranked == 0)


def _log(items: int) -> Iterator[Record]:
    """Every item once, by one person after the other, then what is popular; a second apart, the last one now."""
    start = int(time.time() * 1000) - 1000 * (items + MORE_EVENTS)
    for n in range(items):
        user = f"user{n % USERS}"
        yield "clicks", user, orjson.dumps({"user_id": user, "item_id": str(1_000_000 + n), "timestamp": start + 1000 * n})
    yield from events(MORE_EVENTS, USERS, 2, start + 1000 * items, items)


async def _worked(settings: Settings, records: Sequence[Record], log: Sequence[Record]) -> dict[bytes, bytes]:
    """What workers write: people, items, trending lists."""
    known = Catalogue()
    for _, key, value in records:
        known.apply(key.encode(), value)
    replay = LogReplay(settings, known, {})
    for partition in range(settings.partitions):
        mine = (record for record in log if partition_of(record[1], settings.partitions) == partition)
        numbered = (_appended(partition, offset, *record) for offset, record in enumerate(mine))
        while batch := list(islice(numbered, _BATCH)):
            await replay.apply(partition, batch)
    await replay.finish()
    return replay.store.blobs


def _appended(partition: int, offset: int, topic: str, key: str, value: bytes) -> ConsumerRecord:
    return ConsumerRecord(topic, partition, offset, int(time.time() * 1000), 1, key.encode(), value, None, len(key), len(value), ())


def _learnt(numbers: BankSettings, records: Sequence[Record], log: Sequence[Record]) -> dict[bytes, bytes]:
    """What the learner commits."""
    bank = ModelBank(numbers)
    describe(bank, records)
    learn(bank, (orjson.loads(value) for _, _, value in log), len(log), _RANKED)
    return PageWriter(1, origin_of(numbers)).changes(bank.state(), bank.learnt, int(time.time() * 1000)).puts


def _write(bench: Rig, blobs: dict[bytes, bytes]) -> None:
    pairs = iter(blobs.items())
    while chunk := dict(islice(pairs, _KEYS)):
        bench.redis.mset(chunk)
