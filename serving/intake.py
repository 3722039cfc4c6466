"""Events that come over HTTP: checked as the worker will check them, so that what is accepted here is never dead-lettered there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.errors import InvalidEvent, InvalidInput
from schemas.events import TOPIC_OF_TYPE, Impression, Limits, parse_event
from schemas.timestamps import EARLIEST_MS, parse_timestamp
from schemas.topics import EVENT_TOPICS, FEEDBACK, IMPRESSIONS
from serving.answers import RejectedEvent
from serving.event_log import Record

MAX_EVENTS: Final = 1000
_TOPICS: Final = {**TOPIC_OF_TYPE, "impression": IMPRESSIONS}
_TAKEN: Final = (*EVENT_TOPICS, IMPRESSIONS)
_IMPRESSION: Final = TypeAdapter(Impression)


def events_in(body: bytes) -> list[Any]:
    """The events of a request body: one, or a list of them.

    Raises:
        InvalidInput: not JSON, neither an object nor a list, or too many.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"not JSON: {error}") from error
    if isinstance(given, dict):
        return [given]
    if not isinstance(given, list):
        raise InvalidInput("must be one event or a list of events")
    if len(given) > MAX_EVENTS:
        raise InvalidInput(f"{len(given)} events; at most {MAX_EVENTS} are taken at once")
    return given


def to_records(
    events: list[Any], now_ms: int, limits: Limits, new_id: Callable[[], str]
) -> tuple[list[Record], list[RejectedEvent]]:
    """What to append to the log, and what not and why.

    Args:
        events: decoded JSON.
        now_ms: fills in for a missing timestamp, and bounds how far ahead one may be.
        limits: bounds on a single event.
        new_id: gives an `event_id` to an event without one, so that a retry between here and the store counts once.
    """
    records: list[Record] = []
    rejected: list[RejectedEvent] = []
    for index, event in enumerate(events):
        try:
            records.append(to_record(event, now_ms, limits, new_id))
        except InvalidEvent as error:
            rejected.append({"index": index, "reason": error.reason, "detail": error.detail})
    return records, rejected


def to_record(event: Any, now_ms: int, limits: Limits, new_id: Callable[[], str]) -> Record:
    """One event as a record of its topic, keyed by user. Arguments as of `to_records`.

    Raises:
        InvalidEvent: what the worker would refuse.
    """
    if not isinstance(event, dict):
        raise InvalidEvent("invalid", "an event must be an object")
    topic = _topic_of(event.get("topic"), event.get("type"))
    dropped = {"topic"} if topic == FEEDBACK else {"topic", "type"}
    fields = {name: value for name, value in event.items() if name not in dropped}
    if fields.get("timestamp") is None:
        fields["timestamp"] = now_ms
    if topic != IMPRESSIONS and fields.get("event_id") is None:
        fields["event_id"] = new_id()
    value = _encoded(fields)
    if topic == IMPRESSIONS:
        _check_impression(value, now_ms, limits)
    else:
        parse_event(topic, value, now_ms, limits)
    return Record(topic, fields["user_id"].encode(), value)


def _topic_of(topic: object, kind: object) -> str:
    by_type = _TOPICS.get(kind) if isinstance(kind, str) else None
    if topic is None and by_type is None:
        raise InvalidEvent("unknown_type", f'needs a "topic" of {", ".join(_TAKEN)}, or a "type" of {", ".join(_TOPICS)}')
    named = by_type if topic is None else topic
    if not isinstance(named, str) or named not in _TAKEN:
        raise InvalidEvent("unknown_topic", f"topic {str(named)[:60]!r}: must be one of {', '.join(_TAKEN)}")
    if by_type is not None and named != by_type:
        raise InvalidEvent("invalid", f"type {kind!r} belongs to topic {by_type!r}, not to {named!r}")
    return named


def _encoded(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError as error:  # nested deeper than the encoder goes
        raise InvalidEvent("invalid", str(error)) from error


def _check_impression(value: bytes, now_ms: int, limits: Limits) -> None:
    if len(value) > limits.max_bytes:
        raise InvalidEvent("too_large", f"{len(value)} bytes; at most {limits.max_bytes} are taken")
    try:
        timestamp = parse_timestamp(_IMPRESSION.validate_json(value)["timestamp"])
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        raise InvalidEvent("invalid", f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
    except (ValueError, OverflowError) as error:
        raise InvalidEvent("bad_timestamp", str(error)) from error
    if not EARLIEST_MS <= timestamp <= now_ms + limits.max_future_ms:
        reason = "timestamp_too_old" if timestamp < EARLIEST_MS else "timestamp_in_future"
        raise InvalidEvent(reason, "before 1990, or ahead of the server's time")
