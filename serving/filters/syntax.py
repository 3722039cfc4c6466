"""The tree of a filter, and the tree as text again."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import TypeAlias

from serving.filters.tokens import KEYWORDS, PLAIN_NAME

Scalar: TypeAlias = str | int | float | bool


@dataclass(frozen=True)
class Literal:
    """A number, a text, true or false."""

    value: Scalar


@dataclass(frozen=True)
class Items:
    """A list of literals."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Attribute:
    """What is known of an item under a name: ("price",), or ("attributes", "size", "width")."""

    path: tuple[str, ...]


Operand: TypeAlias = Literal | Items | Attribute


@dataclass(frozen=True)
class Comparison:
    """left == != < <= > >= right."""

    sign: str
    left: Operand
    right: Operand


@dataclass(frozen=True)
class Membership:
    """left in right, or not in."""

    left: Operand
    right: Operand
    negated: bool = False


@dataclass(frozen=True)
class Truth:
    """An operand by itself: whether it is true."""

    operand: Literal | Attribute


@dataclass(frozen=True)
class Not:
    """Whether the part does not hold."""

    part: Condition


@dataclass(frozen=True)
class AllOf:
    """Whether all of at least two parts hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """Whether any of at least two parts holds."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Membership | Truth | Not | AllOf | AnyOf


def text_of(condition: Condition) -> str:
    """The condition in the language, in one spelling; parsed again it is the same tree.

    >>> text_of(AllOf((Truth(Attribute(("seen",))), Comparison("<", Attribute(("price",)), Literal(20)))))
    'seen and price < 20'
    """
    match condition:
        case Comparison(sign, left, right):
            return f"{operand_text(left)} {sign} {operand_text(right)}"
        case Membership(left, right, negated):
            return f"{operand_text(left)} {'not in' if negated else 'in'} {operand_text(right)}"
        case Truth(operand):
            return operand_text(operand)
        case Not(part):
            return f"not {_grouped(part, AllOf | AnyOf)}"
        case AllOf(parts):
            return " and ".join(_grouped(part, AllOf | AnyOf) for part in parts)
        case AnyOf(parts):
            return " or ".join(_grouped(part, AnyOf) for part in parts)


def operand_text(operand: Operand) -> str:
    """An operand in the language."""
    match operand:
        case Literal(value):
            return _scalar_text(value)
        case Items(values):
            return f"[{', '.join(map(_scalar_text, values))}]"
        case Attribute(path):
            return ".".join(map(_name_text, path))


def _grouped(part: Condition, kinds: UnionType | type) -> str:
    text = text_of(part)
    return f"({text})" if isinstance(part, kinds) else text


def _scalar_text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)


def _name_text(name: str) -> str:
    plain = PLAIN_NAME.fullmatch(name) and name.lower() not in KEYWORDS
    return name if plain else f"`{name}`"
