"""How much of the log is not in the feature store yet: the ends of Kafka's partitions against the watermarks in Redis.

Exact at any moment, where a worker's heartbeat is up to a second old.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import redis
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from feature_store.keys import item_watermarks_key, learner_watermarks_key, user_watermarks_key
from ops.kafka_address import client_config, required_servers
from ops.stack.processes import tail
from schemas.errors import KafkaUnavailable, StoreUnavailable, Unavailable
from schemas.settings import Settings
from schemas.topics import INTERACTIONS, ITEM_SIGNALS, USER_STAGE_TOPICS
from stream_workers.handlers.interaction_merge import mark_name

_LOOK_EVERY_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 60.0
_ASK_SECONDS: Final = 10.0
_TOPICS: Final = (*USER_STAGE_TOPICS, ITEM_SIGNALS)
Place = tuple[str, int]


def wait_until_applied(settings: Settings, events: int, logs: Path, tick: Callable[[int, int], None]) -> None:
    """Wait until the store contains the whole log.

    Args:
        events: how many events the bar counts.
        logs: where the worker logs, for the error.
        tick: is told (events applied, events in all).

    Raises:
        Unavailable: nothing moved for a minute; with the last lines of the worker's log.
    """
    backlog = Backlog(settings)
    fewest, moved, empty = None, time.monotonic(), 0
    # Twice in a row: what the user stage sends to the item stage can come after the ends were asked for.
    while empty < 2:
        behind = backlog.behind()
        empty = 0 if behind else empty + 1
        tick(max(0, events - behind), events)
        if fewest is None or behind < fewest:
            fewest, moved = behind, time.monotonic()
        if time.monotonic() - moved > _PATIENCE_SECONDS:
            said = tail(logs / "worker-1.log")
            raise Unavailable(
                f"{behind:,} records wait and none was applied for {_PATIENCE_SECONDS:.0f} s; the worker said last:\n{said}"
            )
        time.sleep(_LOOK_EVERY_SECONDS)


class Backlog:
    """Counts what the workers have still to apply."""

    def __init__(self, settings: Settings) -> None:
        self._servers = required_servers(settings)
        self._redis_url = settings.redis or ""
        self._partitions = settings.partitions
        self._topics = (*_TOPICS, INTERACTIONS) if settings.learner else _TOPICS
        self._admin = AdminClient(client_config(self._servers))
        self._redis = redis.Redis.from_url(self._redis_url, socket_timeout=_ASK_SECONDS, decode_responses=True)

    def behind(self) -> int:
        """Records that are not in the store, over all partitions, both stages and the learner."""
        ends = self._ends()
        done = self._done()
        return sum(max(0, end - 1 - done.get(place, -1)) for place, end in ends.items())

    def _ends(self) -> dict[Place, int]:
        places = [TopicPartition(topic, number) for topic in self._topics for number in range(self._partitions)]
        wanted = dict.fromkeys(places, OffsetSpec.latest())
        try:
            answers = self._admin.list_offsets(wanted, request_timeout=_ASK_SECONDS)
            return {(place.topic, place.partition): answer.result().offset for place, answer in answers.items()}
        except KafkaException as error:
            raise KafkaUnavailable(f"Kafka at {self._servers} does not answer: {error.args[0].str()}") from error

    def _done(self) -> dict[Place, int]:
        done: dict[Place, int] = {}
        try:
            for number in range(self._partitions):
                for key in (user_watermarks_key(number), item_watermarks_key(number)):
                    marks = self._redis.hgetall(key)
                    done |= {(str(topic), number): int(offset) for topic, offset in marks.items()}
            learnt = self._redis.hgetall(learner_watermarks_key())
        except redis.RedisError as error:
            raise StoreUnavailable(f"Redis at {self._redis_url} does not answer: {error}") from error
        for number in range(self._partitions):
            done[INTERACTIONS, number] = int(learnt.get(mark_name(INTERACTIONS, number), -1))
        return done
