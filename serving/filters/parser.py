"""The text of a filter as a tree, by recursive descent.

    filter    = all {"or" all}
    all       = negation {"and" negation}
    negation  = "not" negation | "(" filter ")" | test
    test      = operand [sign operand | ["not"] "in" operand]
    sign      = "==" | "!=" | "<" | "<=" | ">" | ">="
    operand   = number | text | "true" | "false" | "[" [scalar {"," scalar}] "]" | name {"." name}

Keywords may be written in capitals. A name that is none (`release-date`) stands in backticks. At most MAX_LENGTH characters, and
MAX_DEPTH of "(" and "not" inside each other. What can never hold (a price compared with a text) is refused as well.
"""

from __future__ import annotations

from typing import Final, TypeVar

from schemas.timestamps import parse_timestamp
from serving.filters.attributes import ANY, BOOLEAN, LIST, NUMBER, TEXT, TIME, type_of
from serving.filters.errors import InvalidFilter
from serving.filters.syntax import (
    AllOf,
    AnyOf,
    Attribute,
    Comparison,
    Condition,
    Items,
    Literal,
    Membership,
    Not,
    Operand,
    Scalar,
    Truth,
)
from serving.filters.tokens import Token, tokens

MAX_DEPTH: Final = 32
_SIGNS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_SCALARS: Final = frozenset({"number", "text", "true", "false"})
_OPERAND: Final = "an attribute, a number, a text, true, false or ["
_CONDITION: Final = "a condition"
Group = TypeVar("Group", AllOf, AnyOf)


def parse(text: str) -> Condition:
    """The tree of a filter.

    Raises:
        InvalidFilter: names the column and what could stand there.

    >>> parse("not seen")
    Not(part=Truth(operand=Attribute(path=('seen',))))
    """
    return _Parser(tokens(text)).whole()


def parse_attribute(text: str) -> Attribute:
    """The attribute that a text names, and nothing else.

    Raises:
        InvalidFilter: names the column and what could stand there.

    >>> parse_attribute("attributes.brand")
    Attribute(path=('attributes', 'brand'))
    """
    return _Parser(tokens(text)).named()


class _Parser:
    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0

    def whole(self) -> Condition:
        condition = self._any(0)
        self._take("end", expected="and, or, or the end")
        return condition

    def named(self) -> Attribute:
        attribute = self._attribute(self._take("name", expected="an attribute"))
        self._take("end", expected=". or the end")
        return attribute

    @property
    def _next(self) -> Token:
        return self._words[self._at]

    def _accept(self, kind: str) -> bool:
        if self._next.kind != kind:
            return False
        self._at += 1
        return True

    def _take(self, *kinds: str, expected: str) -> Token:
        word = self._next
        if word.kind not in kinds:
            raise InvalidFilter(word.column, expected, word.shown)
        self._at += 1
        return word

    def _any(self, depth: int) -> Condition:
        parts = [self._all(depth)]
        while self._accept("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self, depth: int) -> Condition:
        parts = [self._negation(depth)]
        while self._accept("and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _negation(self, depth: int) -> Condition:
        word = self._next
        if word.kind in ("not", "(") and depth == MAX_DEPTH:
            raise InvalidFilter(word.column, f"at most {MAX_DEPTH} of ( and not inside each other", word.shown)
        if self._accept("not"):
            return Not(self._negation(depth + 1))
        if self._accept("("):
            condition = self._any(depth + 1)
            self._take(")", expected="and, or, or )")
            return condition
        return self._test()

    def _test(self) -> Condition:
        start = self._next
        left = self._operand()
        word = self._next
        if word.kind in _SIGNS:
            self._at += 1
            return self._comparison(word, start, left)
        if word.kind in ("in", "not"):
            self._at += 1
            if word.kind == "not":
                self._take("in", expected="in")
            return self._membership(start, left, negated=word.kind == "not")
        return _truth(start, left, word)

    def _comparison(self, sign: Token, start: Token, left: Operand) -> Comparison:
        at = self._next
        right = self._operand()
        types = (_type(left), _type(right))
        if LIST in types:
            raise InvalidFilter(sign.column, "in or not in beside a list", sign.shown)
        _check_time(left, at, right)
        _check_time(right, start, left)
        if ANY not in types and TIME not in types and types[0] != types[1]:
            raise InvalidFilter(at.column, f"{types[0]} to compare with", types[1])
        if sign.kind not in ("==", "!=") and BOOLEAN in types:
            raise InvalidFilter(sign.column, "== or != beside true or false", sign.shown)
        return Comparison(sign.kind, left, right)

    def _membership(self, start: Token, left: Operand, negated: bool) -> Membership:
        at = self._next
        right = self._operand()
        if _type(left) == LIST:
            raise InvalidFilter(start.column, "one value left of in", "a list")
        if _type(right) not in (LIST, TEXT, ANY):
            raise InvalidFilter(at.column, "a list or a text right of in", _type(right))
        if _type(right) == TEXT and _type(left) not in (TEXT, ANY):
            raise InvalidFilter(start.column, "a text to look for in a text", _type(left))
        return Membership(left, right, negated)

    def _operand(self) -> Operand:
        word = self._take("name", "[", *_SCALARS, expected=_OPERAND)
        if word.kind == "name":
            return self._attribute(word)
        return self._items() if word.kind == "[" else Literal(_scalar(word))

    def _attribute(self, first: Token) -> Attribute:
        path = [str(first.value)]
        while self._accept("."):
            path.append(str(self._take("name", expected="a name").value))
        return Attribute(tuple(path))

    def _items(self) -> Items:
        values: list[Scalar] = []
        while not self._accept("]"):
            if values:
                self._take(",", expected=", or ]")
            values.append(_scalar(self._take(*_SCALARS, expected="a number, a text, true or false")))
        return Items(tuple(values))


def _scalar(word: Token) -> Scalar:
    return word.kind == "true" if word.kind in ("true", "false") else word.value


def _type(operand: Operand) -> str:
    match operand:
        case Attribute(path):
            return type_of(path)
        case Items():
            return LIST
        case Literal(bool()):
            return BOOLEAN
        case Literal(str()):
            return TEXT
        case _:
            return NUMBER


def _truth(start: Token, operand: Operand, word: Token) -> Truth:
    """An operand that stands alone."""
    if isinstance(operand, Items) or _type(operand) not in (BOOLEAN, ANY):
        raise InvalidFilter(word.column, f"==, !=, <, <=, >, >=, in or not in after {start.shown}", word.shown)
    return Truth(operand)


def _check_time(attribute: Operand, at: Token, other: Operand) -> None:
    """What a time is compared with must be one: RFC 3339, epoch ms, or another time."""
    if _type(attribute) == TIME and _type(other) not in (ANY, TIME, NUMBER) and not _is_time(other):
        raise InvalidFilter(at.column, 'a time like "2026-01-01T00:00:00Z" or epoch ms', at.shown)


def _is_time(operand: Operand) -> bool:
    """Whether it is a text that is a time."""
    if not isinstance(operand, Literal) or not isinstance(operand.value, str):
        return False
    try:
        parse_timestamp(operand.value)
    except (ValueError, OverflowError):
        return False
    return True
