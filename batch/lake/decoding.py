"""Records of the log as rows of the lake; what the workers would refuse is kept as it came, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from batch.lake.event_log import LogRecord
from feature_store.feature_vectors import octets_of
from schemas.errors import InvalidEvent
from schemas.events import TYPE_NAMES, Impression, Item, Limits, User, checked_time, parse_event
from schemas.timestamps import parse_timestamp
from schemas.topics import EVENT_TOPICS, FEEDBACK, IMPRESSIONS, ITEMS, USERS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS: Final = 253_402_300_799_999  # the year 9999: a log with times of producers may hold anything
_LARGEST_INT: Final = 2**63 - 1
_LARGEST_FLOAT: Final = 1.7e308
_EVENT_FIELDS: Final = frozenset({"event_id", "user_id", "item_id", "timestamp", "session_id", "request_id", "position", "context"})
_FEEDBACK_FIELDS: Final = _EVENT_FIELDS | {"type", "value", "undo"}
_IMPRESSION: Final = TypeAdapter(Impression)

Values = tuple[Any, ...]


class Row(NamedTuple):
    """One record as a row.

    Attributes:
        folder: of its file: `topic=clicks/day=2026-11-23`, below `invalid/` for what is no event.
        values: in the order of `columns.columns_of`.
    """

    folder: str
    values: Values


def folder_of(topic: str, timestamp: int, invalid: bool = False) -> str:
    """Where events of a topic and moment are.

    Args:
        timestamp: ms; the day is the one in UTC.

    >>> folder_of("clicks", 1767258000120)
    'topic=clicks/day=2026-01-01'
    """
    day = (_EPOCH + timedelta(milliseconds=min(timestamp, _LATEST_MS))).date().isoformat()
    return f"{'invalid/' if invalid else ''}topic={topic}/day={day}"


def decode(record: LogRecord, now_ms: int, limits: Limits) -> Row:
    """The row of any record; never fails.

    Args:
        now_ms: stands for the log's time where the topic has times of producers, as with the workers.
        limits: the workers' own, so that the lake holds for events what they hold for events.
    """
    reference_ms = record.log_time if record.appended else now_ms
    try:
        timestamp, values = _DECODERS[record.topic](record, reference_ms, limits)
    except InvalidEvent as error:
        return _invalid(record, error)
    return Row(folder_of(record.topic, timestamp), (*_place(record), timestamp, record.log_time, record.origin, *values))


def _place(record: LogRecord) -> Values:
    key = None if record.key is None else record.key.decode(errors="replace")
    return record.partition, record.offset, key


def _interaction(record: LogRecord, reference_ms: int, limits: Limits) -> tuple[int, Values]:
    event = parse_event(record.topic, record.value, reference_ms, limits)
    fields = _fields(record.value or b"")
    rest = _rest(fields, _FEEDBACK_FIELDS if record.topic == FEEDBACK else _EVENT_FIELDS)
    value = _held("value", event.value, fields, rest) if record.topic == FEEDBACK else None
    position = fields.get("position")
    position = _held("position", position if position is None or position <= _LARGEST_INT else None, fields, rest)
    return event.timestamp, (
        event.event_id, TYPE_NAMES[event.type], event.user_id, event.item_id, value, event.undo,
        fields.get("session_id"), fields.get("request_id"), position, _json(fields.get("context")), _json(rest),
    )  # fmt: skip


def _impression(record: LogRecord, reference_ms: int, limits: Limits) -> tuple[int, Values]:
    value = _present(record, limits.max_bytes)
    fields = _validated(_IMPRESSION.validate_json, value)
    timestamp = checked_time(fields["timestamp"], reference_ms, limits)
    shown = [_shown(place) for place in fields["items"]]
    given = _fields(value)
    features = _features(given)
    rest = _rest(given, fields.keys() | ({"feature_names"} if features[0] else set()))
    return timestamp, (
        fields["request_id"], fields["user_id"], shown, _json(fields.get("experiment")), _json(fields.get("context")), _json(rest),
        *features,
    )  # fmt: skip


def _features(given: Mapping[str, Any]) -> Values:
    """Digest of the features' names, and the vector of each item; None where it has none. Of other producers' fields: nothing."""
    names = given.get("feature_names")
    if not isinstance(names, str) or not names:
        return None, None
    return names, [octets_of(place.get("features")) for place in given["items"]]


def _shown(place: Mapping[str, Any]) -> dict[str, Any]:
    score = place.get("score")
    if place["position"] > _LARGEST_INT or abs(score or 0) > _LARGEST_FLOAT:
        raise InvalidEvent("invalid", "items: a position or score beyond 64 bits")
    return {**place, "score": None if score is None else float(score)}


def _item(record: LogRecord, reference_ms: int, limits: Limits) -> tuple[int, Values]:
    if record.value is None:
        return record.log_time, (_key_id(record), True, None, None, (), (), None, None, False, None, None)
    item = _validated(Item.model_validate_json, record.value)
    fields = _fields(record.value)
    rest = _rest(fields, Item.model_fields.keys())
    price = None if item.price is None or abs(item.price) > _LARGEST_FLOAT else float(item.price)
    return record.log_time, (
        item.item_id, False, item.title, item.description, item.categories, item.tags, _held("price", price, fields, rest),
        _json(item.attributes), item.available, _held("created_at", _created_ms(item.created_at), fields, rest), _json(rest),
    )  # fmt: skip


def _user(record: LogRecord, reference_ms: int, limits: Limits) -> tuple[int, Values]:
    if record.value is None:
        return record.log_time, (_key_id(record), True, None, (), None)
    user = _validated(User.model_validate_json, record.value)
    rest = _rest(_fields(record.value), User.model_fields.keys())
    return record.log_time, (user.user_id, False, _json(user.attributes), user.groups, _json(rest))


_DECODERS: Final[Mapping[str, Callable[[LogRecord, int, Limits], tuple[int, Values]]]] = {
    **dict.fromkeys(EVENT_TOPICS, _interaction),
    IMPRESSIONS: _impression,
    ITEMS: _item,
    USERS: _user,
}


def _invalid(record: LogRecord, error: InvalidEvent) -> Row:
    values = (
        *_place(record), record.log_time, record.log_time, record.origin,
        error.reason, error.detail.encode(errors="replace").decode(), _user_of(record.value), record.value,
    )  # fmt: skip
    return Row(folder_of(record.topic, record.log_time, invalid=True), values)


def _user_of(value: bytes | None) -> str | None:
    """The user that a record which is no event speaks of, if that can be read: they can be forgotten there too."""
    try:
        fields = from_json(value or b"")
    except ValueError:
        return None
    user = fields.get("user_id") if isinstance(fields, dict) else None
    return user if isinstance(user, str) else None


def _present(record: LogRecord, max_bytes: int) -> bytes:
    if not record.value:
        raise InvalidEvent("empty", "the record has no value")
    if len(record.value) > max_bytes:
        raise InvalidEvent("too_large", f"{len(record.value)} bytes; at most {max_bytes} are taken")
    return record.value


def _key_id(record: LogRecord) -> str:
    if not record.key:
        raise InvalidEvent("invalid", "a null value needs the id as its key")
    return record.key.decode(errors="replace")


def _validated(validate: Callable[[bytes], Any], value: bytes) -> Any:
    try:
        return validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        reason = "not_json" if fault["type"] == "json_invalid" else "invalid"
        where = ".".join(map(str, fault["loc"])) or "value"
        raise InvalidEvent(reason, f"{where}={str(fault['input'])[:60]!r}: {fault['msg']}") from error


def _fields(value: bytes) -> dict[str, Any]:
    """All fields of a value that was validated (which does not look into those it does not know)."""
    try:
        fields: dict[str, Any] = from_json(value)
    except ValueError as error:
        raise InvalidEvent("not_json", str(error)) from error
    return fields


def _created_ms(given: int | str | None) -> int | None:
    try:
        created = None if given is None else parse_timestamp(given)
    except (ValueError, OverflowError):
        return None
    return created if created is None or abs(created) <= _LARGEST_INT else None


def _rest(fields: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Fields without a column."""
    return {name: value for name, value in fields.items() if name not in known}


def _held(name: str, value: Any, fields: Mapping[str, Any], rest: dict[str, Any]) -> Any:
    """The value; what was given goes to the rest where its column cannot hold it."""
    if value is None and fields.get(name) is not None:
        rest[name] = fields[name]
    return value


def _json(value: Any) -> str | None:
    return to_json(value, inf_nan_mode="constants").decode() if value else None
