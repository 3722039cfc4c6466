"""The event log in Kafka, read without a consumer group: what was read is known to the lake alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from batch.lake.event_log import LogRecord, Place, Span
from schemas.errors import KafkaUnavailable

_ANSWER_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 1.0
_RECORDS: Final = 5000
_ORIGIN_HEADER: Final = "freshet-origin"  # as in stream_workers.user_pipeline
_READING: Final = {
    "group.id": "freshet-lake",  # librdkafka wants one; nothing is ever committed to it
    "enable.auto.commit": False,
    "enable.partition.eof": True,  # tells where the log ends when its last offsets hold no records
    "auto.offset.reset": "error",
    "isolation.level": "read_uncommitted",  # what the workers read
    "fetch.message.max.bytes": 4 * 1024 * 1024,
    "queued.max.messages.kbytes": 32 * 1024,
}


class KafkaLog:
    """See `EventLog`. Close it when done.

    Args:
        config: of confluent-kafka clients: at least `bootstrap.servers`.
    """

    def __init__(self, config: Mapping[str, object]) -> None:
        self._config = dict(config)
        self._servers = config["bootstrap.servers"]
        self._admin = AdminClient(self._config)  # its answers come only while it is there
        self._consumer = Consumer({**self._config, **_READING})

    def __enter__(self) -> KafkaLog:
        return self

    def __exit__(self, *error: object) -> None:
        self._consumer.close()

    def topic_ids(self, topics: Sequence[str]) -> Mapping[str, str]:
        """See `EventLog.topic_ids`."""
        found = {}
        asked = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=_ANSWER_SECONDS)
        for topic, answer in asked.items():
            try:
                found[topic] = str(answer.result().topic_id)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._unavailable(error.args[0]) from error
        return found

    def spans(self, topics: Sequence[str]) -> Mapping[Place, Span]:
        """See `EventLog.spans`."""
        try:
            known = self._consumer.list_topics(timeout=_ANSWER_SECONDS).topics
            places = [(topic, partition) for topic in topics if topic in known for partition in sorted(known[topic].partitions)]
            return {place: self._span(place) for place in places}
        except KafkaException as error:
            raise self._unavailable(error.args[0]) from error

    def _span(self, place: Place) -> Span:
        return Span(*self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_ANSWER_SECONDS))

    def read(self, place: Place, start: int, end: int) -> Iterator[list[LogRecord]]:
        """See `EventLog.read`."""
        self._consumer.assign([TopicPartition(*place, start)])
        heard = time.monotonic()
        reached = start
        while reached < end:
            first = self._consumer.poll(_POLL_SECONDS)
            if first is None:
                self._check_silence(place, heard)
                continue
            heard = time.monotonic()
            # What else is there; with a timeout `consume` would wait for so many, or until the timeout.
            messages = [first, *self._consumer.consume(_RECORDS - 1, 0)]
            records = [_record(message) for message in messages if not self._is_end(message) and message.offset() < end]
            reached = max(self._reached(message) for message in messages)
            if records:
                yield records
        self._consumer.unassign()

    def _check_silence(self, place: Place, heard: float) -> None:
        if time.monotonic() > heard + _SILENT_SECONDS:
            raise KafkaUnavailable(f"Kafka at {self._servers}: nothing of {place[0]}-{place[1]} for {_SILENT_SECONDS:g} s")

    def _is_end(self, message: Any) -> bool:
        """Whether this is no record but the news that the log ends here.

        Raises:
            KafkaUnavailable: it is neither.
        """
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise self._unavailable(error)
        return error is not None

    def _reached(self, message: Any) -> int:
        """The offset before which everything was read."""
        if message.error() is None:
            return int(message.offset()) + 1
        return max(0, int(message.offset()))

    def _unavailable(self, error: Any) -> KafkaUnavailable:
        return KafkaUnavailable(f"Kafka at {self._servers}: {error.str()}; run the sync again, it goes on where it stopped")


def _record(message: Any) -> LogRecord:
    kind, log_time = message.timestamp()
    origin = next((value for name, value in message.headers() or () if name == _ORIGIN_HEADER), None)
    return LogRecord(
        message.topic(), message.partition(), message.offset(), message.key(), message.value(), max(0, log_time),
        kind == confluent_kafka.TIMESTAMP_LOG_APPEND_TIME, None if origin is None else str(origin, "utf-8", "replace"),
    )  # fmt: skip
