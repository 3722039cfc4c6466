"""Events: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidEvent
from schemas.events import TYPE_NAMES, Event, Limits, parse_event
from schemas.ids import MAX_ID_BYTES
from schemas.timestamps import EARLIEST_MS
from schemas.topics import EVENT_TOPICS
from tests.event_fields import FUZZ, NOW, fields, parse, refusal


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
    number, refused = sign + "9" * digits, set()
    for name in ("timestamp", "position", "value", "user_id"):
        text = json.dumps(fields(**{name: 123_454_321})).replace("123454321", number)
        if accepted_or_refused("feedback", text.encode()) is not None:
            refused.add(name)
    assert refused >= {"timestamp", "user_id"}


def test_a_detail_stays_short_whatever_the_value() -> None:
    assert len(refusal(json.dumps(fields(user_id="x" * 50_000)).encode()).detail) < 1_000
    assert len(refusal(json.dumps(fields(context={"k" * 50_000: []})).encode()).detail) < 1_000


def test_the_bounds_of_time_are_themselves_accepted() -> None:
    for bound in (EARLIEST_MS, NOW + 300_000):
        assert parse(timestamp=bound).timestamp == bound


def accepted_or_refused(topic: str, value: bytes) -> InvalidEvent | None:
    """The refusal, if it is refused; either way everything is as promised."""
    try:
        event = parse_event(topic, value, NOW)
    except InvalidEvent as error:
        assert error.reason
        orjson.dumps([error.reason, error.detail])  # fits into a dead letter
        return error
    for identifier in (event.user_id, event.item_id, *([event.event_id] if event.event_id is not None else [])):
        assert 1 <= len(identifier.encode()) <= MAX_ID_BYTES
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in identifier)
    assert EARLIEST_MS <= event.timestamp <= NOW + 300_000
    assert 0 <= event.type < len(TYPE_NAMES)
    return None


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
