"""Partitions of ids, timestamps, topics and settings: what they come to, and what is refused."""

from __future__ import annotations

import random

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner as KafkaPythonPartitioner

from schemas.errors import InvalidSettings
from schemas.ids import murmur2, partition_of
from schemas.settings import Settings
from schemas.timestamps import EARLIEST_MS, format_timestamp, parse_timestamp
from schemas.topics import DAY_MS, EVENT_TOPICS, ITEM_SIGNALS, MAX_OWN_MESSAGE_BYTES, declared_topics
from tests.event_fields import FUZZ, NOW, fields, refusal


class Cluster:
    """As much of kafka-python's cluster metadata as its partitioner asks for."""

    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def topics(self) -> set[str]:
        return {"t"}

    def partitions_for_topic(self, topic: str) -> set[int]:
        return self._partitions

    available_partitions_for_topic = partitions_for_topic


def test_murmur2_is_the_partitioner_of_kafka_python_and_aiokafka() -> None:
    rng = random.Random(7)
    for _ in range(5_000):
        key, partitions = rng.randbytes(rng.randrange(1, 40)), rng.randrange(1, 64)
        mine, every = (murmur2(key) & 0x7FFFFFFF) % partitions, list(range(partitions))
        assert mine == DefaultPartitioner()(key, every, every)
        assert mine == KafkaPythonPartitioner().partition("t", None, key, None, None, Cluster(partitions))


def test_an_id_belongs_to_the_partition_of_its_utf8() -> None:
    every = list(range(12))
    for identifier in ("42", "ü", "😀", "x" * 256):
        assert partition_of(identifier, 12) == DefaultPartitioner()(identifier.encode(), every, every)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-01-01T09:00:00Z", NOW), ("2026-01-01t09:00:00z", NOW), ("2026-01-01 09:00:00Z", NOW),
        ("2026-01-01T10:00:00+01:00", NOW),
        ("2026-01-01T03:30:00-05:30", NOW), ("2026-01-01T09:00:00-00:00", NOW), ("2026-01-01T09:00:00.1Z", NOW + 100),
        ("2026-01-01T09:00:00.120Z", NOW + 120), ("2026-01-01T09:00:00.123456789Z", NOW + 123),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
    ],
)  # fmt: skip
def test_every_form_of_rfc_3339_is_read(text: str, milliseconds: int) -> None:
    assert parse_timestamp(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-01-01", "2026-01-01T09:00:00", "2026-01-01T09:00Z", "2026-13-01T09:00:00Z", "2025-02-29T09:00:00Z",
        "20260101T090000Z", "2026-01-01T25:00:00Z", "2026-01-01T09:00:00+25:00", "2026-01-01T09:00:00.Z", "0000-01-01T00:00:00Z",
        " 2026-01-01T09:00:00Z",
        "2026-01-01T09:00:00Z\n", "\uff12\uff10\uff12\uff16-01-01T09:00:00Z", "1767258000000", "2026-W01-1T09:00:00Z",
    ],
)  # fmt: skip
def test_anything_else_is_a_bad_timestamp(text: str) -> None:
    assert refusal(orjson.dumps(fields(timestamp=text))).reason == "bad_timestamp"


@FUZZ
@given(st.integers(EARLIEST_MS, 4_102_444_800_000))
def test_formatting_and_parsing_are_inverse(milliseconds: int) -> None:
    assert parse_timestamp(format_timestamp(milliseconds)) == milliseconds


def test_all_topics_have_the_same_partition_count_and_the_brokers_time() -> None:
    topics = declared_topics(Settings(partitions=6))
    assert {spec.name for spec in topics} == {
        *EVENT_TOPICS,
        "impressions",
        "items",
        "users",
        "item-signals",
        "interactions",
        "dead-letters",
    }
    assert {(spec.partitions, spec.configs["message.timestamp.type"]) for spec in topics} == {(6, "LogAppendTime")}


def test_only_items_and_users_are_compacted() -> None:
    compacted = {spec.name for spec in declared_topics(Settings()) if spec.configs["cleanup.policy"] == "compact"}
    assert compacted == {"items", "users"}


def test_a_forgotten_user_stays_forgotten_as_long_as_the_log_has_their_events() -> None:
    """Kafka drops a tombstone of a compacted topic after `delete.retention.ms` (a day, if unset); a rebuild must still find it."""
    users = next(spec for spec in declared_topics(Settings()) if spec.name == "users")
    assert int(users.configs.get("delete.retention.ms", DAY_MS)) > 10 * 365 * DAY_MS


@pytest.mark.parametrize("days", [0, 1, 90])
def test_the_wish_to_be_forgotten_outlives_every_record_from_before_it_and_no_longer(days: int) -> None:
    specs = {spec.name: spec.configs for spec in declared_topics(Settings(retention_days=days))}
    wish = int(specs["users"]["delete.retention.ms"])
    longest = max(int(configs["retention.ms"]) for configs in specs.values() if "retention.ms" in configs)
    assert longest + 7 * DAY_MS <= wish <= longest + 14 * DAY_MS
    assert int(specs["users"]["max.compaction.lag.ms"]) == DAY_MS


def test_signals_outlive_the_events_that_they_came_from() -> None:
    kept = {spec.name: spec.configs for spec in declared_topics(Settings(retention_days=3))}
    assert kept["views"]["retention.ms"] == str(3 * DAY_MS)
    assert int(kept[ITEM_SIGNALS]["retention.ms"]) > 3 * DAY_MS
    assert {
        spec.configs.get("retention.ms") for spec in declared_topics(Settings()) if spec.name in (*EVENT_TOPICS, ITEM_SIGNALS)
    } == {"-1"}
    assert int(kept[ITEM_SIGNALS]["max.message.bytes"]) == int(kept["dead-letters"]["max.message.bytes"]) == MAX_OWN_MESSAGE_BYTES


def test_settings_come_from_the_environment_and_flags_win() -> None:
    environment = {
        "FRESHET_PARTITIONS": "8",
        "FRESHET_KAFKA": "h:1",
        "FRESHET_LINGER_MS": "",
        "PARTITIONS": "3",
        "FRESHET_UNKNOWN": "x",
    }
    made = Settings.from_environment(environment, kafka="flag:2", redis=None)
    assert (made.partitions, made.kafka, made.redis, made.linger_ms) == (8, "flag:2", None, 5)
    assert made.home.is_absolute()
    with pytest.raises(ValueError, match="frozen"):
        made.partitions = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"), [("PARTITIONS", "many"), ("PARTITIONS", "0"), ("LINGER_MS", "-1"), ("API_PORT", "70000")]
)
def test_a_wrong_setting_is_named_with_its_value(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"FRESHET_{name}='{value}': "):
        Settings.from_environment({f"FRESHET_{name}": value})
