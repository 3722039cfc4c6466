"""Where somebody is who asks: the part of a request's context that popularity is kept for, named as the learner names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from serving.problems import InvalidRequest

NAMES: Final = ("category", "country", "device", "hour")
_OF_REQUEST: Final = ("country", "device")
_LONGEST: Final = 64  # as of `schemas.events.Event.context`


def contexts_of(context: Mapping[str, object]) -> tuple[str, ...]:
    """Country and device as "name=value", sorted.

    >>> contexts_of({"device": "phone", "country": "DE", "page": "home"})
    ('country=DE', 'device=phone')
    """
    given = ((name, context.get(name)) for name in _OF_REQUEST)
    return tuple(f"{name}={value}" for name, value in given if value is not None and len(str(value)) <= _LONGEST)


def checked(context: str) -> str:
    """The same text.

    Raises:
        InvalidRequest: it is not one of the names, "=" and a value.
    """
    name, _, value = context.partition("=")
    if name not in NAMES or not value:
        raise InvalidRequest("context", f"must be name=value with name one of {', '.join(NAMES)}")
    return context
