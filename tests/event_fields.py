"""Made-up events, field by field, as a producer writes them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import settings

from schemas.errors import InvalidEvent
from schemas.events import Event, parse_event

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
