"""`freshet verify`: replays the log with the worker's own code beside the live state, and prints what differs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from feature_store.catalogue import Catalogue
from feature_store.keys import category_trending_key, forgotten_key, item_watermarks_key, trending_key, user_watermarks_key
from feature_store.packing import CorruptBlob
from feature_store.redis_store import RedisStore
from feature_store.trending_blob import unpack_trending
from ops.comparison import Difference, compare_forgotten, compare_items, compare_users
from ops.kafka_address import check_reachable, required_servers
from ops.log_reader import end_offsets, read_merged
from ops.log_replay import LogReplay
from ops.terminal import print_json, say
from schemas.errors import InvalidEvent, InvalidSettings, Unavailable
from schemas.settings import Settings
from schemas.topics import EVENT_TOPICS, ITEM_SIGNALS, ITEMS, USER_STAGE_TOPICS

_SETTLE_SECONDS: Final = 60.0
_CHUNK_KEYS: Final = 1000
_SHOWN: Final = 20
Say = Callable[[str], None]


@dataclass
class Report:
    """What was compared and what differs."""

    events: int = 0
    users: int = 0
    items: int = 0
    unsure_users: int = 0
    unsure_items: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        return {
            "ok": not self.differences,
            "events": self.events,
            "users": self.users,
            "items": self.items,
            "users_with_unsure_affinities": self.unsure_users,
            "items_with_unsure_neighbours": self.unsure_items,
            "seconds": round(self.seconds, 2),
            "differences": [d._asdict() | {"expected": repr(d.expected), "found": repr(d.found)} for d in self.differences],
        }


async def verify(settings: Settings, say: Say) -> Report:
    """Replay the log up to where the live state is, and compare.

    Raises:
        Unavailable: Kafka or Redis does not answer, or the workers do not catch up within a minute.
    """
    started = time.monotonic()
    servers = required_servers(settings)
    if settings.redis is None:
        raise InvalidSettings("no Redis address: set FRESHET_REDIS=redis://host:port or start a local stack with `freshet up`")
    await asyncio.to_thread(check_reachable, servers)
    async with AsyncExitStack() as stack:
        live = RedisStore(settings.redis)
        stack.push_async_callback(live.close)
        consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest")
        stack.push_async_callback(consumer.stop)
        await _start(consumer, servers)
        ends = await _settled(consumer, live, settings, say)
        say(f"replaying {sum(ends.values()):,} records")
        replay = await _replayed(consumer, settings, ends)
        report = await _compared(live, replay, settings)
    report.seconds = time.monotonic() - started
    return report


async def _start(consumer: AIOKafkaConsumer, servers: str) -> None:
    try:
        await consumer.start()
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka {servers}: {type(error).__name__}: {error}") from error


async def _settled(consumer: AIOKafkaConsumer, live: RedisStore, settings: Settings, say: Say) -> dict[TopicPartition, int]:
    """Wait until the live state contains the whole log; returns where the log ends."""
    deadline, told = time.monotonic() + _SETTLE_SECONDS, False
    while True:
        ends = await end_offsets(consumer, USER_STAGE_TOPICS, settings.partitions)
        signal_ends = await end_offsets(consumer, (ITEM_SIGNALS,), settings.partitions)
        behind = await _behind(live, ends | signal_ends, settings.partitions)
        if behind == 0:
            return ends
        if time.monotonic() > deadline:
            raise Unavailable(f"the live state is {behind:,} records behind the log; is a worker running?")
        if not told:
            say(f"waiting for the workers: {behind:,} records behind")
            told = True
        await asyncio.sleep(0.3)


async def _behind(live: RedisStore, ends: Mapping[TopicPartition, int], partitions: int) -> int:
    total = 0
    for partition in range(partitions):
        marks = await live.watermarks(user_watermarks_key(partition)) | await live.watermarks(item_watermarks_key(partition))
        for tp, end in ends.items():
            if tp.partition == partition:
                total += max(0, end - 1 - marks.get(tp.topic, -1))
    return total


async def _replayed(consumer: AIOKafkaConsumer, settings: Settings, ends: Mapping[TopicPartition, int]) -> LogReplay:
    catalogue, times = Catalogue(keep_raw=False), {}
    item_ends = await end_offsets(consumer, (ITEMS,), settings.partitions)
    async for records in read_merged(consumer, item_ends):
        for record in records:
            try:
                catalogue.apply(record.key, record.value)
            except InvalidEvent:
                continue
            times[(record.key or b"").decode(errors="replace")] = record.timestamp
    replay = LogReplay(settings, catalogue, times)
    for partition in range(settings.partitions):
        own = {tp: end for tp, end in ends.items() if tp.partition == partition}
        async for records in read_merged(consumer, own):
            await replay.apply(partition, records)
    await replay.finish()
    return replay


async def _compared(live: RedisStore, replay: LogReplay, settings: Settings) -> Report:
    report = Report(events=replay.events, unsure_users=len(replay.unsure))
    expected = replay.store.blobs

    def users(key: bytes, found: bytes | None) -> Iterable[Difference]:
        sure = key.partition(b"}")[2].decode() not in replay.unsure
        return compare_users(key.decode(), expected.get(key), found, sure)

    # What a person clicked and viewed within the same moment stands in two topics, and which is read first is not in the log:
    # it decides which pairs they make.
    ordered = len(replay.topics & set(EVENT_TOPICS)) <= 1

    def items(key: bytes, found: bytes | None) -> Iterable[Difference]:
        differences = list(compare_items(key.decode(), expected.get(key), found, settings.neighbours))
        sure = [difference for difference in differences if ordered or difference.field != "neighbours"]
        report.unsure_items += len(differences) - len(sure)
        return sure

    def forgotten(key: bytes, found: bytes | None) -> Iterable[Difference]:
        return compare_forgotten(key.decode(), expected.get(key), found)

    def profiles(key: bytes, found: bytes | None) -> Iterable[Difference]:
        return [] if expected.get(key) == found else [Difference(key.decode(), "profile", expected.get(key), found)]

    def lists(key: bytes, found: bytes | None) -> Iterable[Difference]:
        return _readable(key, found)

    report.users = await _compare_keys(live, b"u:{", expected, users, report)
    report.items = await _compare_keys(live, b"i:{", expected, items, report)
    await _compare_keys(live, b"p:{", expected, profiles, report)
    await _compare_keys(live, forgotten_key(0)[:3], expected, forgotten, report)
    for prefix in (trending_key(0)[:3], category_trending_key(0, "")[:3]):
        await _compare_keys(live, prefix, {}, lists, report)
    return report


async def _compare_keys(
    live: RedisStore,
    prefix: bytes,
    expected: Mapping[bytes, bytes],
    compare: Callable[[bytes, bytes | None], Iterable[Difference]],
    report: Report,
) -> int:
    keys = {key for key in expected if key.startswith(prefix)}
    async for chunk in live.scan(prefix):
        keys.update(chunk)
    ordered = sorted(keys)
    for start in range(0, len(ordered), _CHUNK_KEYS):
        part = ordered[start : start + _CHUNK_KEYS]
        for key, blob in zip(part, await live.read(part), strict=True):
            report.differences.extend(compare(key, blob))
    return len(ordered)


def _readable(key: bytes, found: bytes | None) -> Iterator[Difference]:
    """Trending lists follow from the items; that they can be read is all there is to check."""
    try:
        if found is not None:
            unpack_trending(found)
    except CorruptBlob as error:
        yield Difference(key.decode(), "blob", "intact", str(error))


def verify_command(settings: Settings, json_output: bool) -> bool:
    """Run and print; True if anything differs."""
    report = asyncio.run(verify(settings, say))
    if json_output:
        print_json(report.as_json())
        return bool(report.differences)
    print(
        f"{report.events:,} log records replayed, {report.users:,} users and {report.items:,} items compared "
        f"in {report.seconds:.1f} s: {len(report.differences) or 'no'} differences"
    )
    if report.unsure_items:
        print(f"({report.unsure_items:,} items have other neighbours: views, clicks and feedback were read in another order)")
    for difference in report.differences[:_SHOWN]:
        print(f"  {difference.key} {difference.field}: expected {difference.expected!r:.150}, found {difference.found!r:.150}")
    return bool(report.differences)
