"""A transport for Faust that delivers lists: each fetched run of one partition's records becomes ONE message.

Faust spends about 0.2 ms on every message (a coroutine hop, a queue, an ack) before any work is done; with lists that is paid once
per fetch. Agents, rebalancing, commits and the web view stay Faust's. Registered as the `batching` transport:
`broker="batching://host:port"`.

Three things differ from the stock aiokafka transport, all because the feature store's watermarks, not Kafka's commits, say what is
done: positions after a rebalance come from `app.freshet_runtime`; commits to Kafka only mirror those watermarks, for lag monitors;
partitions are assigned by range, which gives partition p of every topic to the same worker (round-robin does not).
"""

from __future__ import annotations

import asyncio
from collections import UserDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import aiokafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage

from stream_workers.shutdown import within

FETCH_WAIT_MS = 20
"""How long the broker may hold a fetch that finds nothing. Other partitions are not fetched meanwhile: this bounds latency."""
_LEAVE_SECONDS: Final = 2.0
_CANCEL_SECONDS: Final = 1.0


class FetchedRecords(NamedTuple):
    """The value of a batching message.

    Attributes:
        records: consecutive records of one partition.
        epoch: how often the partition had been sought when they were fetched; older epochs are to be dropped.
    """

    records: list[ConsumerRecord]
    epoch: int


class Positions(Protocol):
    """What the transport asks of the application."""

    async def assign(self, assigned: set[TP]) -> dict[TP, int]:
        """Take exactly these partitions; returns the offset to read next for each."""

    def started(self, epochs: Mapping[TP, int]) -> None:
        """Fetches from the positions of `assign` carry these epochs."""

    def committable(self, tp: TP) -> int | None:
        """Next offset of the partition according to the store."""


class ConsumerThread(stock.AIOKafkaConsumerThread):
    """Owns the Kafka consumer, in a thread of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._epochs: dict[TP, int] = {}

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=stock.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RangePartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
        )

    async def on_thread_stop(self) -> None:
        """Leave the group and disconnect, if the broker answers soon. In a rebalance, or with a broker that is lost, aiokafka would
        wait for one request timeout after the other; the group notices by itself that a member is gone."""
        await within(_LEAVE_SECONDS, "Kafka consumer", super().on_thread_stop())

    async def _gather_remaining_tasks(self) -> None:
        """Cancel what is left in the thread's loop; Faust would wait until all of it obeys."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)

    async def _fetch_records(self, consumer: Any, active_partitions: Any, timeout: Any = None, max_records: Any = None) -> Any:  # noqa: ASYNC109 - Faust's signature
        fetched = await super()._fetch_records(consumer, active_partitions, timeout=timeout, max_records=max_records)
        # No await between the fetch and the stamp: `rewind` runs in this thread's loop too and cannot come between.
        return {tp: [FetchedRecords(records, self._epochs.get(TP(*tp), 0))] for tp, records in fetched.items() if records}

    async def rewind(self, positions: Mapping[TP, int]) -> dict[TP, int]:
        """Continue reading at these offsets; returns the new epoch of each partition."""
        epochs: dict[TP, int] = await self.call_thread(self._rewind, positions)
        return epochs

    async def _rewind(self, positions: Mapping[TP, int]) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for tp, offset in positions.items():
            partition = aiokafka.TopicPartition(*tp)
            if partition not in assigned:  # lost again in the meantime; the next rebalance comes with its own positions
                continue
            self._epochs[tp] = self._epochs.get(tp, 0) + 1
            consumer.seek(partition, offset)
        return {tp: self._epochs[tp] for tp in positions if tp in self._epochs}


class _NoReadOffsets(UserDict[TP, int | None]):
    """Faust drops what is before the last offset it saw. After a rewind that would be everything, and one late message from before
    the rewind is enough to bring the old offset back. Epochs tell old from new here, so nothing is remembered."""

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        """Forget it."""


class Consumer(stock.Consumer):
    """Yields one message per partition and fetch."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoReadOffsets()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def thread_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the consumer's thread."""
        loop: asyncio.AbstractEventLoop = self._thread.thread_loop
        return loop

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Ask the application, which asks the store, where to go on."""
        runtime: Positions = self.app.freshet_runtime
        positions = await runtime.assign(set(self.assignment()))
        runtime.started(await self._thread.rewind(positions))
        return positions

    async def rewind(self, positions: Mapping[TP, int]) -> dict[TP, int]:
        """Read again from these offsets, after the store lost its latest writes; returns the new epochs."""
        return await self._thread.rewind(positions)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand on what is fetched. Faust's own loop waits for each message together with a second event, which costs three rounds
        of the event loop a list; here the lists of one fetch are handed on in one round. A list that is held up by a rebalance is
        of an old epoch when it arrives."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=1.0):
                    await self.callback(message)
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.transport.app.should_stop:  # else Faust takes it for a crash when it comes in a rebalance
                raise

    async def on_stop(self) -> None:
        """No last commit, for which Faust would wait without limit: by now the pipelines have given their partitions back."""

    def close(self) -> None:
        """Faust calls this when a rebalance ends after the stop has begun, and closes the consumer halfway, in the wrong thread.
        `ConsumerThread` closes it."""

    def _to_message(self, tp: TP, fetched: FetchedRecords) -> ConsumerMessage:
        first = fetched.records[0]
        return ConsumerMessage(
            first.topic, first.partition, first.offset, first.timestamp / 1000.0, first.timestamp_type, [],
            None, fetched, None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        runtime: Positions = self.app.freshet_runtime
        return runtime.committable(TP(*tp))

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Faust counts offsets one by one to find what it may commit; the store's watermark says it directly."""


class Transport(stock.Transport):
    """See the module."""

    Consumer = Consumer
