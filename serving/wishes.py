"""Constraints as the body of a request may give them: by attribute (`{"price": {"max": 20}}`) or as named filters, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from schemas.events import FiniteNumber
from schemas.ids import Id
from serving.filters.attributes import LIST, type_of
from serving.filters.errors import InvalidFilter
from serving.filters.parser import parse_attribute
from serving.filters.syntax import AllOf, AnyOf, Attribute, Comparison, Condition, Items, Literal, Membership, Not, text_of
from serving.surfaces import Constraint

Value = StrictStr | StrictBool | FiniteNumber
Values = Annotated[tuple[Value, ...], Field(min_length=1, max_length=100)]


class Wish(BaseModel):
    """What one attribute should be; all parts that are given must hold.

    Attributes:
        min, max: bounds, themselves included. equals: the one value.
        any, all, none: of a list, at least one, each or none of these must be in it; of one value, it must (not) be one of these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: FiniteNumber | None = None
    max: FiniteNumber | None = None
    equals: Value | None = None
    any: Values | None = None
    all: Values | None = None
    none: Values | None = None


Wishes = Annotated[Mapping[Id, Wish], Field(min_length=1, max_length=20)] | Annotated[Sequence[Constraint], Field(max_length=20)]


def constraints_of(wishes: Wishes) -> tuple[Constraint, ...]:
    """The wishes as named filters, most important first.

    Raises:
        InvalidFilter: an attribute cannot be compared so. ValueError: a wish that says nothing.

    >>> constraints_of({"price": Wish(max=20), "categories": Wish(any=("a", "b"))})[1].filter
    '"a" in categories or "b" in categories'
    """
    if isinstance(wishes, Mapping):
        return tuple(Constraint(name=name, filter=text_of(_condition(name, wish))) for name, wish in wishes.items())
    return tuple(wishes)


def _condition(name: str, wish: Wish) -> Condition:
    attribute = parse_attribute(name)
    bounds = ((">=", wish.min), ("<=", wish.max), ("==", wish.equals))
    parts: list[Condition] = [Comparison(sign, attribute, Literal(value)) for sign, value in bounds if value is not None]
    if wish.any:
        parts.append(_any_of(attribute, wish.any))
    parts += [Membership(Literal(value), attribute) for value in wish.all or ()]
    if wish.none:
        parts.append(Not(_any_of(attribute, wish.none)))
    if not parts:
        raise InvalidFilter(1, "one of min, max, equals, any, all, none", "nothing")
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _any_of(attribute: Attribute, values: Sequence[Value]) -> Condition:
    if type_of(attribute.path) != LIST:
        return Membership(attribute, Items(tuple(values)))
    within = tuple(Membership(Literal(value), attribute) for value in values)
    return within[0] if len(within) == 1 else AnyOf(within)
