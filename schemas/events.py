"""The values of the Kafka topics, as pydantic types, and what an event becomes once it is decoded.

The three event topics are TypedDicts: pydantic validates them three times faster than models, and the worker validates every event.
Unknown fields are ignored. `docs/contract` of the project is `schemas/topics.py` for the topics themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from schemas.errors import InvalidEvent
from schemas.ids import Id, PlainId, is_plain
from schemas.timestamps import EARLIEST_MS, parse_timestamp

FiniteNumber = StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)]
Context = dict[StrictStr, StrictStr | FiniteNumber | StrictBool]
Timestamp = Annotated[StrictInt | StrictStr, Field(description="RFC 3339 with zone, or integer epoch milliseconds")]
FeedbackType = Literal["like", "dislike", "rating", "add_to_cart", "purchase", "hide"]


class EventType(IntEnum):
    """What a person did. The numbers are stored: never renumber, only append (at most 16)."""

    VIEW = 0
    CLICK = 1
    LIKE = 2
    DISLIKE = 3
    RATING = 4
    ADD_TO_CART = 5
    PURCHASE = 6
    HIDE = 7


TYPE_NAMES: Final = tuple(kind.name.lower() for kind in EventType)
TYPE_CODES: Final = {name: code for code, name in enumerate(TYPE_NAMES)}
TOPIC_OF_TYPE: Final = {name: {"view": "views", "click": "clicks"}.get(name, "feedback") for name in TYPE_NAMES}
NEGATIVE_TYPES: Final = frozenset({EventType.DISLIKE, EventType.HIDE})

# How strongly an event of each type speaks for an item, by type code: a view is weak, a purchase strong,
# a dislike says nothing in favour. Ratings count as one whatever their value (any rating: the person took the item).
TYPE_WEIGHTS: Final = (0.25, 1.0, 1.5, 0.0, 1.0, 2.0, 4.0, 0.0)


IdRule = TypeVar("IdRule")


class Interaction(TypedDict, Generic[IdRule]):
    """A value of `views` or `clicks`; `IdRule` is `Id`, or `PlainId` for a text that was checked as a whole."""

    event_id: NotRequired[IdRule | None]
    user_id: IdRule
    item_id: IdRule
    timestamp: Timestamp
    session_id: NotRequired[IdRule | None]
    request_id: NotRequired[IdRule | None]
    position: NotRequired[Annotated[int, Field(strict=True, ge=0)] | None]
    context: NotRequired[Context | None]


class Feedback(Interaction[IdRule]):
    """A value of `feedback`. With `undo` it takes back the person's newest earlier feedback of that type on that item."""

    type: FeedbackType
    value: NotRequired[FiniteNumber | None]
    undo: NotRequired[StrictBool | None]


class ShownItem(TypedDict):
    """One place of an impression's slate."""

    item_id: Id
    position: Annotated[int, Field(strict=True, ge=0)]
    score: NotRequired[FiniteNumber | None]
    propensity: NotRequired[Annotated[float, Field(gt=0, le=1)] | None]
    source: NotRequired[str | None]


class Impression(TypedDict):
    """A value of `impressions`: the slate that one request showed."""

    request_id: Id
    user_id: Id
    timestamp: Timestamp
    items: list[ShownItem]
    experiment: NotRequired[dict[str, Any] | None]
    context: NotRequired[Context | None]


class Item(BaseModel):
    """A value of `items`: one catalogue entry. A null value deletes the item."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    item_id: Id
    title: str | None = Field(None, max_length=2000)
    description: str | None = Field(None, max_length=50_000)
    categories: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field((), max_length=64)
    tags: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field((), max_length=256)
    price: FiniteNumber | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)
    available: bool = True
    created_at: Timestamp | None = None


class User(BaseModel):
    """A value of `users`: one profile. A null value forgets the user."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user_id: Id
    attributes: dict[str, Any] = Field(default_factory=dict)
    groups: tuple[str, ...] = Field((), max_length=256)


class DeadLetter(TypedDict):
    """A value of `dead-letters`: an event that could not be applied, and why."""

    topic: str
    partition: int
    offset: int
    reason: str
    error: str
    value_base64: str
    received_at: str


class Event(NamedTuple):
    """A decoded view, click or feedback.

    Attributes:
        type: code of `EventType`.
        timestamp: event time, ms since the epoch.
        event_id: the producer's id of the event, if it gave one.
        value: of a rating; None where there is none, or one that float32 cannot hold.
        undo: True: not something new, but an earlier event of that user, type and item taken back.
        context: `device` and `country` as "name=value", sorted; other keys and values of more than 64 characters are left out.
    """

    user_id: str
    item_id: str
    type: int
    timestamp: int
    event_id: str | None
    value: float | None = None
    undo: bool = False
    context: tuple[str, ...] = ()


class Limits(NamedTuple):
    """What a single event may be; from the settings."""

    max_bytes: int = 64 * 1024
    max_future_ms: int = 300_000


def _validators(interaction: Any, feedback: Any) -> dict[str, Callable[[bytes], Any]]:
    """The bare validators by topic: TypeAdapter's own methods cost another microsecond per event."""
    plain, typed = TypeAdapter(interaction).validator.validate_json, TypeAdapter(feedback).validator.validate_json
    return {"views": plain, "clicks": plain, "feedback": typed}


_VALIDATE: Final = _validators(Interaction[Id], Feedback[Id])
_VALIDATE_PLAIN: Final = _validators(Interaction[PlainId], Feedback[PlainId])
_LONGEST_CONTEXT: Final = 64
_LARGEST_VALUE: Final = 3.4e38  # float32
_FIXED_TYPE: Final = {"views": int(EventType.VIEW), "clicks": int(EventType.CLICK)}


def parse_event(topic: str, value: bytes | None, reference_ms: int, limits: Limits = Limits()) -> Event:
    """Decode and validate one record of `views`, `clicks` or `feedback`.

    Args:
        topic: the record's topic.
        value: the record's value.
        reference_ms: when the log took the record in; events further ahead than `limits.max_future_ms` are refused.
            (The log's time and not the clock: a rebuild must refuse exactly what was refused the first time.)
        limits: bounds on a single event.

    Raises:
        InvalidEvent: `empty`, `too_large`, `not_json`, `invalid`, `bad_timestamp`, `timestamp_too_old` or `timestamp_in_future`.

    >>> parse_event("clicks", b'{"user_id":"42","item_id":"7","timestamp":1767258000120}', 1767258000125)
    Event(user_id='42', item_id='7', type=1, timestamp=1767258000120, event_id=None, value=None, undo=False, context=())
    """
    if not value:
        raise InvalidEvent("empty", "the record has no value")
    if len(value) > limits.max_bytes:
        raise InvalidEvent("too_large", f"{len(value)} bytes; at most {limits.max_bytes} are taken")
    try:
        fields = (_VALIDATE_PLAIN if is_plain(value) else _VALIDATE)[topic](value)
    except ValidationError as error:
        raise _explained(error) from error
    timestamp = fields["timestamp"]
    if timestamp.__class__ is not int or not EARLIEST_MS <= timestamp <= reference_ms + limits.max_future_ms:
        timestamp = checked_time(timestamp, reference_ms, limits)
    given = fields.get("context")
    context = _kept(given.get("country"), given.get("device")) if given else ()
    if topic in _FIXED_TYPE:
        return Event(
            fields["user_id"], fields["item_id"], _FIXED_TYPE[topic], timestamp, fields.get("event_id"), None, False, context
        )
    number = fields.get("value")
    return Event(
        fields["user_id"], fields["item_id"], TYPE_CODES[fields["type"]], timestamp, fields.get("event_id"),
        float(number) if number is not None and abs(number) <= _LARGEST_VALUE else None, fields.get("undo") is True, context,
    )  # fmt: skip


@lru_cache(maxsize=4096, typed=True)  # there are few; typed, because 1 == True
def _kept(country: str | float | None, device: str | float | None) -> tuple[str, ...]:
    """The part of an event's context that models use."""
    named = (("country", country), ("device", device))
    return tuple(f"{name}={value}" for name, value in named if value is not None and len(str(value)) <= _LONGEST_CONTEXT)


def checked_time(value: int | str, reference_ms: int, limits: Limits) -> int:
    """The event time, ms, of what a producer gave.

    Args:
        reference_ms: when the log took the event in.

    Raises:
        InvalidEvent: no time, one before 1990, or one too far ahead.
    """
    try:
        timestamp = parse_timestamp(value)
    except (ValueError, OverflowError) as error:
        raise InvalidEvent("bad_timestamp", f"timestamp {str(value)[:60]!r}: {error}") from error
    if timestamp < EARLIEST_MS:
        raise InvalidEvent("timestamp_too_old", f"timestamp {str(value)[:60]!r} is before 1990")
    if timestamp > reference_ms + limits.max_future_ms:
        raise InvalidEvent("timestamp_in_future", f"timestamp {str(value)[:60]!r} is ahead of the log's time")
    return timestamp


def _explained(error: ValidationError) -> InvalidEvent:
    """The first few faults in one line, each with the field's name and (shortened) value."""
    faults = error.errors(include_url=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        return InvalidEvent("not_json", faults[0]["msg"])
    lines = [f"{'.'.join(map(str, f['loc']))[:60] or 'value'}={str(f['input'])[:60]!r}: {f['msg']}" for f in faults[:4]]
    return InvalidEvent("invalid", "; ".join(lines))
