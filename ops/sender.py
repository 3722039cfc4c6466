"""The fast producer: keyed records to Kafka, each acknowledged by all replicas or reported, none silently lost."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ops.kafka_address import client_config
from schemas.errors import KafkaUnavailable

DELIVERY_SECONDS: Final = 30
# librdkafka calls back only inside poll; once per this many records is often enough and costs nothing.
_POLL_EVERY: Final = 1000


class NotDelivered(KafkaUnavailable):
    """Kafka did not acknowledge some records.

    Attributes:
        lost: how many.
        first: the lowest number among them.
    """

    def __init__(self, lost: int, first: int, why: str) -> None:
        super().__init__(f"Kafka did not acknowledge {lost:,} records, the first of them number {first}: {why}")
        self.lost = lost
        self.first = first


class Sender:
    """Sends encoded records. Every `send` is either acknowledged by the time `finish` returns, or `finish` raises.

    Keys are partitioned as Kafka's Java client does (murmur2): librdkafka's own default is another hash, with which a user's
    events would arrive at the wrong worker. No compression, because aiokafka reads only gzip without further packages.
    """

    def __init__(self, servers: str) -> None:
        self._producer = Producer(
            {
                **client_config(servers),
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "compression.type": "none",
                "delivery.timeout.ms": DELIVERY_SECONDS * 1000,
                # Success is the absence of a report: a Python call for each of 100,000 records a second is too dear.
                "delivery.report.only.error": True,
            }
        )
        self._sent = 0
        self._lost = 0
        self._first = -1
        self._why = ""

    @property
    def failing(self) -> bool:
        """Whether a record is already known to be lost, so that sending more makes no sense."""
        return self._lost > 0

    def send(self, topic: str, key: str, value: bytes, number: int) -> None:
        """Hand over one record; waits while the queue is full.

        Args:
            number: names the record in `NotDelivered`.
        """
        on_delivery = partial(self._failed, number)
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=on_delivery)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:  # too large, or a fatal state: this record goes nowhere
                self._failed(number, error.args[0], None)
                return
            else:
                break
        self._sent += 1
        if self._sent % _POLL_EVERY == 0:
            self._producer.poll(0)

    def wait(self, seconds: float) -> None:
        """Let time pass while reports are taken."""
        self._producer.poll(seconds)

    def finish(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            NotDelivered: some of it was not, within `DELIVERY_SECONDS` of being sent.
        """
        until = time.monotonic() + DELIVERY_SECONDS + 5
        # In slices, so that Ctrl-C is noticed.
        while self._producer.flush(0.25) and time.monotonic() < until:
            pass
        if left := len(self._producer):
            raise KafkaUnavailable(f"{left:,} records are still without an answer from Kafka after {DELIVERY_SECONDS + 5} s")
        if self._lost:
            raise NotDelivered(self._lost, self._first, self._why)

    def _failed(self, number: int, error: KafkaError, _: Message | None) -> None:
        if not self._lost or number < self._first:
            self._first, self._why = number, error.str()
        self._lost += 1
