"""A filter as a function of what is known of an item.

Two-valued logic: a comparison or `in` with an attribute that the item does not have, or whose type is another, is false, and so are
`!=` and `not in`. `not (brand == "x")` therefore holds for an item without a brand, `brand != "x"` does not.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from schemas.timestamps import parse_timestamp
from serving.filters.attributes import BOOLEAN, NUMBER, TEXT, TIME, Facts, Reader, reader, type_of
from serving.filters.parser import parse
from serving.filters.syntax import AllOf, AnyOf, Attribute, Comparison, Condition, Items, Literal, Membership, Not, Operand, Truth

Predicate = Callable[[Facts], bool]
_SIGNS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@lru_cache(maxsize=512)
def compiled(text: str) -> Predicate:
    """The function of a filter's text; those used last are kept.

    Raises:
        InvalidFilter: names the column and what could stand there.

    >>> compiled("price < 20")(Facts("7", {"price": 5})), compiled("price < 20")(Facts("8"))
    (True, False)
    """
    return predicate(parse(text))


def predicate(condition: Condition) -> Predicate:
    """The function of a tree."""
    match condition:
        case Comparison(sign, left, right):
            return _comparison(_SIGNS[sign], left, right)
        case Membership(left, right, negated):
            return _membership(_reads(left), _reads(right), negated)
        case Truth(operand):
            return _truth(_reads(operand))
        case Not(part):
            return _negation(predicate(part))
        case AllOf(parts):
            return every([predicate(part) for part in parts])
        case AnyOf(parts):
            return _some([predicate(part) for part in parts])


def _reads(operand: Operand) -> Reader:
    match operand:
        case Literal(value):
            return lambda _: value
        case Items(values):
            return lambda _: values
        case Attribute(path):
            return reader(path)


def _comparison(holds: Callable[[Any, Any], bool], left: Operand, right: Operand) -> Predicate:
    read_left, read_right = _reads(_timed(left, right)), _reads(_timed(right, left))

    def compare(facts: Facts) -> bool:
        one, other = read_left(facts), read_right(facts)
        return _alike(one, other) and holds(one, other)

    return compare


def _timed(operand: Operand, other: Operand) -> Operand:
    """The operand; a text that is compared with a time as epoch ms (the parser has checked it)."""
    timed = isinstance(other, Attribute) and type_of(other.path) == TIME
    if timed and isinstance(operand, Literal) and isinstance(operand.value, str):
        return Literal(parse_timestamp(operand.value))
    return operand


_KINDS: Final = {int: NUMBER, float: NUMBER, str: TEXT, bool: BOOLEAN}


def _alike(one: Any, other: Any) -> bool:
    """Whether two values may be compared: numbers, texts, or both true or false. Lists, objects and nothing are like nothing."""
    kind = _KINDS.get(type(one))
    return kind is not None and kind == _KINDS.get(type(other))


def _membership(read_left: Reader, read_right: Reader, negated: bool) -> Predicate:
    def contained(facts: Facts) -> bool:
        one, many = read_left(facts), read_right(facts)
        if one is None or not isinstance(many, list | tuple | str) or (isinstance(many, str) and not isinstance(one, str)):
            return False
        found = one in many if isinstance(one, str) else any(_alike(one, each) and one == each for each in many)
        return found is not negated

    return contained


def _truth(read: Reader) -> Predicate:
    return lambda facts: read(facts) is True


def _negation(part: Predicate) -> Predicate:
    return lambda facts: not part(facts)


def every(parts: Sequence[Predicate]) -> Predicate:
    """What holds where all parts do; everywhere, if there are none. Two by two: `all` over a generator takes twice as long."""
    if not parts:
        return lambda _: True
    if len(parts) == 1:
        return parts[0]
    one, other = every(parts[: len(parts) // 2]), every(parts[len(parts) // 2 :])
    return lambda facts: one(facts) and other(facts)


def _some(parts: Sequence[Predicate]) -> Predicate:
    return _negation(every([_negation(part) for part in parts]))
