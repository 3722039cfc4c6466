"""From JSON to the dataclasses of `answers`. Strict in what is known, silent about what is not: newer servers answer more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from freshet_client.errors import InvalidAnswer

Reader = Callable[[Any, str], Any]  # the JSON value and where it stood, for the message
A = TypeVar("A", bound="Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Base of all answers. `raw` is the JSON object as it came, with the fields that this client does not know yet."""

    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def read(kind: type[A], value: Any) -> A:
    """A JSON value as an answer.

    Raises:
        InvalidAnswer: a field is missing or of another type; names it.

    >>> from freshet_client.answers import Freshness
    >>> read(Freshness, {"age_ms": 84, "new": 1}).age_ms
    84
    >>> read(Freshness, {"age_ms": "84"})
    Traceback (most recent call last):
    ...
    freshet_client.errors.InvalidAnswer: Freshness.age_ms: expected int, found '84'
    """
    return cast(A, _reader(cast(Any, kind))(value, kind.__name__))


@cache
def _reader(kind: Any) -> Reader:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value, _: value
    if NoneType in inner:
        return _optional(_reader(next(one for one in inner if one is not NoneType)))
    if origin is tuple:
        return _list(_reader(inner[0]))
    if origin is dict:
        return _dict(_reader(inner[1]))
    return _record(kind) if is_dataclass(kind) else _plain(kind)


def _plain(kind: Any) -> Reader:
    taken = (int, float) if kind is float else kind

    def read_plain(value: Any, where: str) -> Any:
        if not isinstance(value, taken) or (isinstance(value, bool) and kind is not bool):
            raise _unlike(kind.__name__, value, where)
        return value

    return read_plain


def _optional(reader: Reader) -> Reader:
    return lambda value, where: None if value is None else reader(value, where)


def _list(reader: Reader) -> Reader:
    def read_list(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _unlike("a list", value, where)
        return tuple(reader(one, f"{where}[{at}]") for at, one in enumerate(value))

    return read_list


def _dict(reader: Reader) -> Reader:
    def read_dict(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _unlike("an object", value, where)
        return {name: reader(one, f"{where}.{name}") for name, one in value.items()}

    return read_dict


def _record(kind: Any) -> Reader:
    types = get_type_hints(kind)
    known = [(one.name, _reader(types[one.name]), _needed(one)) for one in fields(kind) if one.name != "raw"]

    def read_record(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _unlike("an object", value, where)
        for name, _, needed in known:
            if needed and name not in value:
                raise InvalidAnswer(f"{where}.{name}: is missing")
        given = {name: reader(value[name], f"{where}.{name}") for name, reader, _ in known if name in value}
        return kind(**given, raw=value)

    return read_record


def _needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _unlike(expected: str, value: Any, where: str) -> InvalidAnswer:
    return InvalidAnswer(f"{where}: expected {expected}, found {value!r:.60}")
