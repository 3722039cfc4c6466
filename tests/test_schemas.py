"""Events, ids, timestamps, topics and settings: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner as KafkaPythonPartitioner

from schemas.errors import InvalidEvent, InvalidSettings
from schemas.events import TYPE_NAMES, Event, Limits, parse_event
from schemas.ids import MAX_ID_BYTES, murmur2, partition_of
from schemas.settings import Settings
from schemas.timestamps import EARLIEST_MS, format_timestamp, parse_timestamp
from schemas.topics import DAY_MS, EVENT_TOPICS, ITEM_SIGNALS, MAX_OWN_MESSAGE_BYTES, declared_topics

NOW = 1_767_258_000_000
FUZZ = settings(deadline=None, max_examples=150)


def fields(**changes: Any) -> dict[str, Any]:
    return {"user_id": "42", "item_id": "7", "timestamp": NOW, "type": "like"} | changes


def parse(topic: str = "clicks", **changes: Any) -> Event:
    return parse_event(topic, orjson.dumps(fields(**changes), option=orjson.OPT_NON_STR_KEYS), NOW)


def refusal(value: bytes | None, topic: str = "clicks") -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(topic, value, NOW)
    return caught.value


@pytest.mark.parametrize("topic", ["views", "clicks"])
def test_the_topic_decides_the_type_of_a_view_or_click(topic: str) -> None:
    assert parse(topic).type == TYPE_NAMES.index(topic[:-1])


@pytest.mark.parametrize("kind", ["like", "dislike", "rating", "add_to_cart", "purchase", "hide"])
def test_feedback_names_its_type(kind: str) -> None:
    assert parse("feedback", type=kind, value=3.5).type == TYPE_NAMES.index(kind)


def test_type_codes_never_change() -> None:
    assert TYPE_NAMES == ("view", "click", "like", "dislike", "rating", "add_to_cart", "purchase", "hide")


def test_every_field_of_the_contract_is_accepted_and_unknown_ones_are_ignored() -> None:
    event = parse(
        event_id="e1", session_id="s", request_id="r", position=0, context={"a": "x", "b": 1, "c": 1.5, "d": True}, extra={"x": [1]}
    )
    assert event == Event("42", "7", 1, NOW, "e1")


@pytest.mark.parametrize("name", ["event_id", "session_id", "request_id", "position", "context"])
def test_optional_fields_may_be_null(name: str) -> None:
    assert parse(**{name: None}).event_id is None


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": 42}, {"user_id": None}, {"item_id": ["7"]}, {"timestamp": None}, {"timestamp": 1.5}, {"timestamp": True},
        {"position": -1}, {"position": "1"}, {"context": {"a": [1]}}, {"context": "x"}, {"event_id": ""}, {"event_id": 5},
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_type_is_refused_and_named(changes: dict[str, Any]) -> None:
    error = refusal(orjson.dumps(fields(**changes)))
    assert (error.reason, next(iter(changes)) in error.detail) == ("invalid", True)


@pytest.mark.parametrize("name", ["user_id", "item_id", "timestamp"])
def test_a_missing_field_is_refused_and_named(name: str) -> None:
    assert name in refusal(orjson.dumps({key: value for key, value in fields().items() if key != name})).detail


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"), (b"", "empty"), (b"{", "not_json"), (b"\xff\xfe", "not_json"), (b"null", "invalid"), (b"[]", "invalid"),
        (b'"text"', "invalid"), (b"x" * (64 * 1024 + 1), "too_large"), (b"[" * 60_000, "not_json"),
        (json.dumps(fields(user_id="\ud800")).encode(), "not_json"),
        (json.dumps(fields(timestamp="soon")).encode(), "bad_timestamp"),
        (json.dumps(fields(timestamp=EARLIEST_MS - 1)).encode(), "timestamp_too_old"),
        (json.dumps(fields(timestamp=NOW + 300_001)).encode(), "timestamp_in_future"),
    ],
)  # fmt: skip
def test_each_kind_of_fault_has_its_reason(value: bytes | None, reason: str) -> None:
    assert refusal(value).reason == reason


@pytest.mark.parametrize("digits", [30, 4_299, 4_301, 60_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_of_any_length_is_refused_in_an_orderly_way(digits: int, sign: str) -> None:
    number = sign + "9" * digits
    for name in ("timestamp", "position", "value", "user_id"):
        text = json.dumps(fields(**{name: 123_454_321})).replace("123454321", number)
        if name in ("timestamp", "user_id"):
            refusal(text.encode(), "feedback")
        else:
            accepted_or_refused("feedback", text.encode())


def test_a_detail_stays_short_whatever_the_value() -> None:
    assert len(refusal(json.dumps(fields(user_id="x" * 50_000)).encode()).detail) < 1_000
    assert len(refusal(json.dumps(fields(context={"k" * 50_000: []})).encode()).detail) < 1_000


def test_the_bounds_of_time_are_themselves_accepted() -> None:
    for bound in (EARLIEST_MS, NOW + 300_000):
        assert parse(timestamp=bound).timestamp == bound


def accepted_or_refused(topic: str, value: bytes) -> None:
    try:
        event = parse_event(topic, value, NOW)
    except InvalidEvent as error:
        assert error.reason
        orjson.dumps([error.reason, error.detail])  # fits into a dead letter
        return
    for identifier in (event.user_id, event.item_id, *([event.event_id] if event.event_id is not None else [])):
        assert 1 <= len(identifier.encode()) <= MAX_ID_BYTES
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in identifier)
    assert EARLIEST_MS <= event.timestamp <= NOW + 300_000
    assert 0 <= event.type < len(TYPE_NAMES)


@FUZZ
@given(st.sampled_from(EVENT_TOPICS), st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_invalid_event(topic: str, value: bytes) -> None:
    accepted_or_refused(topic, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)
LIKELY = (
    JSON
    | st.text(min_size=1, max_size=5)
    | st.integers(NOW - 10, NOW + 10)
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
)


@FUZZ
@given(
    st.sampled_from(EVENT_TOPICS),
    st.fixed_dictionaries(
        dict.fromkeys(("user_id", "item_id", "timestamp"), LIKELY),
        optional=dict.fromkeys(("event_id", "type", "value", "position", "context", "session_id", "request_id"), LIKELY),
    ),
    st.none() | st.integers(0, 200),
)
def test_almost_right_json_raises_nothing_but_invalid_event(topic: str, value: Mapping[str, Any], cut: int | None) -> None:
    accepted_or_refused(topic, json.dumps(value).encode()[:cut])


def test_the_limits_are_settings() -> None:
    value = orjson.dumps(fields(timestamp=NOW + 50))
    with pytest.raises(InvalidEvent, match="too_large"):
        parse_event("clicks", value, NOW, Limits(max_bytes=len(value) - 1))
    with pytest.raises(InvalidEvent, match="timestamp_in_future"):
        parse_event("clicks", value, NOW, Limits(max_future_ms=49))


@pytest.mark.parametrize("identifier", ["x", "x" * 256, "ü" * 128, "€" * 85, "😀" * 64, "a b", "{1}", "007", " ", "\u2028"])
def test_ids_of_up_to_256_bytes_are_accepted(identifier: str) -> None:
    assert parse(user_id=identifier, item_id=identifier, event_id=identifier).user_id == identifier


@pytest.mark.parametrize(
    "identifier", ["", "x" * 257, "ü" * 129, "€" * 86, "😀" * 65, *(f"a{chr(c)}" for c in (0, 10, 13, 31, 127, 128, 159))]
)
def test_longer_ids_and_control_characters_are_refused(identifier: str) -> None:
    for name in ("user_id", "item_id", "event_id"):
        assert refusal(orjson.dumps(fields(**{name: identifier}))).reason == "invalid"


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


@pytest.mark.parametrize(
    ("changes", "value", "undo", "context"),
    [
        ({"value": 3.5}, 3.5, False, ()),
        ({"value": 4, "undo": True}, 4.0, True, ()),
        ({"value": None, "undo": None, "context": None}, None, False, ()),
        ({"value": 1e39}, None, False, ()),
        ({"value": -(10**400)}, None, False, ()),
        ({"undo": False, "context": {"device": "phone", "country": "DE", "page": 7}}, None, False, ("country=DE", "device=phone")),
        ({"context": {"device": True}}, None, False, ("device=True",)),
        ({"context": {"device": 1}}, None, False, ("device=1",)),
        ({"context": {"device": "x" * 65, "country": "x" * 64}}, None, False, ("country=" + "x" * 64,)),
    ],
)
def test_value_undo_and_the_context_that_models_use_are_kept(
    changes: dict[str, Any], value: float | None, undo: bool, context: tuple[str, ...]
) -> None:
    text = json.dumps(fields(type="rating", **changes)).encode()
    event = parse_event("feedback", text, NOW)
    assert (event.value, event.undo, event.context) == (value, undo, context)


def test_only_feedback_has_a_value_and_can_be_taken_back() -> None:
    event = parse("clicks", value=3.5, undo=True, context={"device": "tv"})
    assert (event.value, event.undo, event.context) == (None, False, ("device=tv",))


@pytest.mark.parametrize("changes", [{"undo": 1}, {"undo": "true"}, {"value": "5"}, {"value": True}, {"context": {"device": []}}])
def test_feedback_of_other_types_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match="invalid"):
        parse("feedback", **changes)


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
