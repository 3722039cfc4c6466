"""What the pipelines share: connections, settings, clock and counters of one worker process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from feature_store.catalogue import Catalogue
from feature_store.port import FeatureStore
from schemas.errors import KafkaUnavailable
from schemas.events import Limits
from schemas.settings import Settings
from schemas.topics import MAX_OWN_MESSAGE_BYTES
from stream_workers.handlers.settings import ModelSettings
from stream_workers.models.deep.session_model import SessionModel


@dataclass(frozen=True)
class Outgoing:
    """A record to produce."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class CatalogueSync(Protocol):
    """Waits until the catalogue is as new as the log was at some time (`CatalogueFollower.reach`)."""

    async def __call__(self, log_time_ms: int, now_ms: int) -> None:
        """See `CatalogueFollower.reach`."""


class RecordSink(Protocol):
    """Where a pipeline sends records (`SignalProducer`)."""

    async def send(self, records: list[Outgoing]) -> None:
        """Produce all; returns when all are acknowledged. Raises KafkaUnavailable."""


Rewind = Callable[[Mapping[tuple[str, int], int]], Awaitable[Mapping[tuple[str, int], int]]]
_EFFECTS_KEPT: Final = 4096


@dataclass
class Counters:
    """What happened since the worker started.

    Attributes:
        events: events whose effect is in the store. duplicates: events skipped because their id was known.
        dead_letters, forwarded: events refused; events sent on to the partition of their user.
        signals: events applied to items.
        session_steps, session_encodings: events that moved the state of a user by a step; states made from a history.
        recoveries: times a partition was read again from the store (Redis or Kafka lost, ownership lost).
        effects_ms: latest times from the log taking in a batch's events to their effect being stored.
    """

    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    forwarded: int = 0
    signals: int = 0
    session_steps: int = 0
    session_encodings: int = 0
    recoveries: int = 0
    effects_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_EFFECTS_KEPT))


class SignalProducer:
    """Sends records and waits until Kafka has all of them.

    Retries may send a record twice: receivers skip what they know (source offsets, event ids), so no idempotent producer is needed,
    whose fatal states would need a restart.
    """

    def __init__(self, kafka: str) -> None:
        self._options: dict[str, Any] = {
            "bootstrap_servers": kafka,
            "acks": "all",
            "linger_ms": 0,
            "max_request_size": MAX_OWN_MESSAGE_BYTES,
            "max_batch_size": 1 << 20,
            "request_timeout_ms": 10_000,
        }
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaUnavailable: no broker answers.
        """
        producer = AIOKafkaProducer(**self._options)
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise KafkaUnavailable(f"Kafka {self._options['bootstrap_servers']}: {error}") from error
        self._producer = producer

    async def send(self, records: list[Outgoing]) -> None:
        """Produce all, in order per partition; returns when all are acknowledged.

        Raises:
            KafkaUnavailable: at least one was not acknowledged.
        """
        if self._producer is None:
            raise KafkaUnavailable("the producer is not started")
        try:
            futures = [
                await self._producer.send(r.topic, value=r.value, key=r.key, partition=r.partition, headers=list(r.headers))
                for r in records
            ]
            for future in futures:
                await future
        except (KafkaError, OSError) as error:
            raise KafkaUnavailable(f"producing failed: {type(error).__name__}: {error}") from error

    async def stop(self) -> None:
        """Flush and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None


@dataclass
class Services:
    """Everything a pipeline uses.

    Attributes:
        reach_catalogue: waits for catalogue records that are older than a batch's events.
        rewind: reads partitions again from other offsets (the consumer's).
        clock_ms: wall clock, ms since the epoch.
        session_model: the model whose state is kept for each user, as of now; None: there is none.
    """

    settings: Settings
    models: ModelSettings
    store: FeatureStore
    producer: RecordSink
    catalogue: Catalogue
    reach_catalogue: CatalogueSync
    rewind: Rewind
    counters: Counters = field(default_factory=Counters)
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    session_model: Callable[[], SessionModel | None] = lambda: None

    @cached_property
    def limits(self) -> Limits:
        """Bounds on a single event."""
        return Limits(self.settings.max_event_bytes, self.settings.max_future_seconds * 1000)
