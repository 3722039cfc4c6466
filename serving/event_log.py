"""Writing to the log: the port, and Kafka behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.errors import KafkaUnavailable

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 3.0


class Record(NamedTuple):
    """One record to append; without a value it deletes what the key names."""

    topic: str
    key: bytes
    value: bytes | None


class EventLog(Protocol):
    """A log that records are appended to."""

    @property
    def connected(self) -> bool:
        """Whether the log was reachable when last tried."""

    async def start(self) -> None:
        """Begin to connect; returns at once."""

    async def append(self, records: Sequence[Record]) -> None:
        """Return once every record is acknowledged by all replicas.

        Raises:
            KafkaUnavailable: not within the time limit; some of the records may be in the log nevertheless.
        """

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""


class AbsentLog:
    """Stands in where no Kafka is configured."""

    connected = False

    async def start(self) -> None:
        """Nothing to connect to."""

    async def append(self, records: Sequence[Record]) -> None:
        """Always fails.

        Raises:
            KafkaUnavailable: always.
        """
        raise KafkaUnavailable("no Kafka address: set FRESHET_KAFKA")

    async def stop(self) -> None:
        """Nothing to disconnect."""


class KafkaLog:
    """Kafka, through one idempotent producer that is replaced when it fails.

    A producer that gave up on a batch may refuse everything after it (sequence numbers), so the first failure retires it.

    Args:
        kafka: bootstrap servers.
        ack_timeout_ms: how long `append` may take.
        max_request_bytes: largest record.
    """

    def __init__(self, kafka: str, ack_timeout_ms: int, max_request_bytes: int = 1 << 20) -> None:
        self._kafka = kafka
        self._ack_timeout_ms = ack_timeout_ms
        self._max_request_bytes = max_request_bytes
        self._producer: AIOKafkaProducer | None = None
        self._usable = asyncio.Event()
        self._failed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """See `EventLog`."""
        return self._usable.is_set()

    async def start(self) -> None:
        """See `EventLog`."""
        self._task = asyncio.create_task(self._stay_connected(), name="event-log")

    async def append(self, records: Sequence[Record]) -> None:
        """See `EventLog`."""
        seconds = self._ack_timeout_ms / 1000
        try:
            async with asyncio.timeout(seconds):
                await self._usable.wait()
                await _send(self._producer, records)
        except TimeoutError as error:
            self._retire()
            raise KafkaUnavailable(f"Kafka did not acknowledge within {seconds:g} s") from error
        except KafkaError as error:
            self._retire()
            raise KafkaUnavailable(f"Kafka: {type(error).__name__}: {error}") from error

    async def stop(self) -> None:
        """See `EventLog`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _retire(self) -> None:
        if self._usable.is_set():
            self._usable.clear()
            self._failed.set()

    async def _stay_connected(self) -> None:
        loudness = logging.WARNING
        while True:
            self._producer = producer = self._new_producer()
            try:
                await producer.start()
                log.info("kafka: connected to %s", self._kafka)
                loudness = logging.WARNING
                self._failed.clear()
                self._usable.set()
                await self._failed.wait()
                log.warning("kafka: an append failed; connecting anew")
            except (KafkaError, OSError) as error:
                log.log(loudness, "kafka: %s; trying again every %g s", error, _RETRY_SECONDS)
                loudness = logging.DEBUG  # once for each outage
            finally:
                self._usable.clear()
                await _stopped(producer)
            await asyncio.sleep(_RETRY_SECONDS)

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._kafka,
            client_id="freshet-api",
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=self._ack_timeout_ms,
            max_request_size=self._max_request_bytes,
        )


async def _send(producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
    """Send all, then wait until each is acknowledged; the first failure is raised."""
    waiting = [await producer.send(record.topic, record.value, key=record.key) for record in records]
    # Not gather: it would cancel the producer's own futures when the time is up.
    if waiting:
        await asyncio.wait(waiting)
    for future in waiting:
        future.result()


async def _stopped(producer: AIOKafkaProducer) -> None:
    """Stop a producer, which first sends what it still holds; without Kafka that would take its whole time limit."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
    except (TimeoutError, KafkaError) as error:
        log.warning("kafka: the producer did not stop cleanly: %s", str(error) or type(error).__name__)
        if producer._sender.sender_task is not None:  # stop() was interrupted before it ended this one
            producer._sender.sender_task.cancel()
        await producer.client.close()
