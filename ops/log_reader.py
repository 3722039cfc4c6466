"""Reads partitions of the log up to given offsets, several topics merged by log time."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from schemas.errors import KafkaUnavailable

_POLL_MS = 1000


async def end_offsets(consumer: AIOKafkaConsumer, topics: tuple[str, ...], partitions: int) -> dict[TopicPartition, int]:
    """Where each partition of the topics ends now."""
    wanted = [TopicPartition(topic, partition) for topic in topics for partition in range(partitions)]
    consumer.assign(wanted)
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(wanted)
    except KafkaError as error:
        raise KafkaUnavailable(f"Kafka: {type(error).__name__}: {error}") from error
    return ends


async def read_merged(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], chunk: int = 2000
) -> AsyncIterator[list[ConsumerRecord]]:
    """Every record before the given ends, in log-time order as far as the partitions' own order allows.

    Args:
        consumer: without a group.
        ends: partition to the offset before which to read.
        chunk: records per list.
    """
    streams = {tp: end for tp, end in ends.items() if end > 0}
    if not streams:
        return
    consumer.assign(list(streams))
    await consumer.seek_to_beginning()
    waiting: dict[TopicPartition, list[ConsumerRecord]] = {tp: [] for tp in streams}
    while waiting:
        fetched = await consumer.getmany(*waiting, timeout_ms=_POLL_MS, max_records=4 * chunk)
        for tp, records in fetched.items():
            waiting[tp].extend(record for record in records if record.offset < streams[tp])
        finished = {tp for tp in waiting if await consumer.position(tp) >= streams[tp]}
        # What is newer than the newest known record of an unfinished partition must wait: older ones may still come.
        bound = min((waiting[tp][-1].timestamp if waiting[tp] else -1 for tp in waiting.keys() - finished), default=None)
        ready = []
        for tp, records in waiting.items():
            cut = len(records) if bound is None else sum(record.timestamp <= bound for record in records)
            ready.append(records[:cut])
            waiting[tp] = records[cut:]
        merged = list(heapq.merge(*ready, key=lambda record: record.timestamp))
        for start in range(0, len(merged), chunk):
            yield merged[start : start + chunk]
        for tp in finished:
            if not waiting[tp]:
                del waiting[tp]
