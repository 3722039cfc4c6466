"""What people do, as values. Each event gets its id and its time when it is made, so sending it again never counts twice."""

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

Kind = Literal["view", "click", "like", "dislike", "rating", "add_to_cart", "purchase", "hide"]
Timestamp = int | str | datetime
Scalar = str | int | float | bool
R = TypeVar("R")


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def new_event_id() -> str:
    """A random id that nobody else draws."""
    return uuid.uuid4().hex


class About(TypedDict, total=False):
    """What may be said of every event.

    Attributes:
        timestamp: when it happened: epoch milliseconds, RFC 3339 text, or a datetime with zone; now where it is not given.
        event_id: counts once within 24 hours, however often it is sent; a random one where it is not given.
        session_id: the visit that it belongs to.
        request_id, position: the recommendation that showed the item (`Recommendations.request_id`, `RecommendedItem.position`).
        context: `device`, `country` and whatever else should be logged.
    """

    timestamp: Timestamp
    event_id: str
    session_id: str | None
    request_id: str | None
    position: int | None
    context: Mapping[str, Scalar] | None


class AboutFeedback(About, total=False):
    """What may be said of feedback besides.

    Attributes:
        value: a number that goes with it.
        undo: True: takes back the person's newest earlier feedback of that type on that item.
    """

    value: float | None
    undo: bool


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person did with an item. Fields: see `About` and `AboutFeedback`.

    >>> Event("click", "42", "7", timestamp=1767258000120, event_id="c-1").fields()
    {'type': 'click', 'event_id': 'c-1', 'user_id': '42', 'item_id': '7', 'timestamp': 1767258000120}
    """

    type: Kind
    user_id: str
    item_id: str
    timestamp: Timestamp = field(default_factory=now_ms, kw_only=True)
    event_id: str = field(default_factory=new_event_id, kw_only=True)
    session_id: str | None = field(default=None, kw_only=True)
    request_id: str | None = field(default=None, kw_only=True)
    position: int | None = field(default=None, kw_only=True)
    context: Mapping[str, Scalar] | None = field(default=None, kw_only=True)
    value: float | None = field(default=None, kw_only=True)
    undo: bool = field(default=False, kw_only=True)

    def fields(self) -> dict[str, Any]:
        """The event as the API takes it.

        Raises:
            ValueError: the timestamp is a datetime without a zone.
        """
        optional = {
            "session_id": self.session_id, "request_id": self.request_id, "position": self.position,
            "context": dict(self.context) if self.context else None, "value": self.value, "undo": self.undo or None,
        }  # fmt: skip
        return {
            "type": self.type, "event_id": self.event_id, "user_id": self.user_id, "item_id": self.item_id,
            "timestamp": _time(self.timestamp),
        } | {name: value for name, value in optional.items() if value is not None}  # fmt: skip

    def encoded(self) -> bytes:
        """The event's JSON.

        Raises:
            ValueError: a value has no JSON (NaN, half a character, a datetime without a zone). TypeError: nor has its type.
        """
        return encode(self.fields())


def encode(value: Any) -> bytes:
    """Compact JSON in UTF-8. Raises ValueError or TypeError for what has no JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _time(when: Timestamp) -> int | str:
    if not isinstance(when, datetime):
        return when
    if when.tzinfo is None:
        raise ValueError(f"timestamp {when}: has no time zone; say datetime.now(UTC)")
    return int(when.timestamp() * 1000)


class EventVerbs(ABC, Generic[R]):
    """One method for each type of event. What becomes of the event is up to `take`."""

    @abstractmethod
    def take(self, event: Event) -> R:
        """Send the event, or keep it until it is sent."""

    def view(self, user_id: str, item_id: str, **about: Unpack[About]) -> R:
        """Somebody looked at the item."""
        return self.take(Event("view", user_id, item_id, **about))

    def click(self, user_id: str, item_id: str, **about: Unpack[About]) -> R:
        """Somebody chose the item, played it, opened it."""
        return self.take(Event("click", user_id, item_id, **about))

    def like(self, user_id: str, item_id: str, **about: Unpack[AboutFeedback]) -> R:
        """Somebody said that they like the item; `undo=True`: no longer."""
        return self.take(Event("like", user_id, item_id, **about))

    def dislike(self, user_id: str, item_id: str, **about: Unpack[AboutFeedback]) -> R:
        """Somebody said that they do not like the item; `undo=True`: no longer."""
        return self.take(Event("dislike", user_id, item_id, **about))

    def rating(self, user_id: str, item_id: str, value: float, **about: Unpack[About]) -> R:
        """Somebody gave the item so many stars."""
        return self.take(Event("rating", user_id, item_id, value=value, **about))

    def add_to_cart(self, user_id: str, item_id: str, **about: Unpack[AboutFeedback]) -> R:
        """Somebody put the item into their cart; `undo=True`: took it out."""
        return self.take(Event("add_to_cart", user_id, item_id, **about))

    def purchase(self, user_id: str, item_id: str, **about: Unpack[AboutFeedback]) -> R:
        """Somebody bought the item; `undo=True`: gave it back."""
        return self.take(Event("purchase", user_id, item_id, **about))

    def hide(self, user_id: str, item_id: str, **about: Unpack[AboutFeedback]) -> R:
        """Somebody does not want to see the item again; `undo=True`: may see it again."""
        return self.take(Event("hide", user_id, item_id, **about))
