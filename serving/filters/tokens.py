"""The text of a filter as tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from serving.filters.errors import InvalidFilter

MAX_LENGTH: Final = 2000
KEYWORDS: Final = frozenset({"and", "or", "not", "in", "true", "false"})
PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ESCAPES: Final = {'"': '"', "'": "'", "\\": "\\", "n": "\n", "t": "\t"}
_LONGEST_SHOWN: Final = 30
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<quoted>`[^`]+`)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>==|!=|<=|>=|[<>()\[\],.])""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One word of a filter.

    Attributes:
        kind: "number", "text", "name", "end", or the keyword or sign itself.
        value: of a number or a text; the name; else the word.
        column: where it begins, from 1.
    """

    kind: str
    value: str | int | float
    column: int
    written: str

    @property
    def shown(self) -> str:
        """The token as a message names it."""
        if self.kind == "end":
            return "the end"
        return self.written if len(self.written) <= _LONGEST_SHOWN else f"{self.written[:_LONGEST_SHOWN]}..."


def tokens(text: str) -> list[Token]:
    """All tokens, the last one of kind "end".

    Raises:
        InvalidFilter: longer than MAX_LENGTH, a character that begins nothing, or a text or number that is not one.

    >>> [token.kind for token in tokens("price <= 20 and NOT seen")]
    ['name', '<=', 'number', 'and', 'not', 'name', 'end']
    """
    if len(text) > MAX_LENGTH:
        raise InvalidFilter(MAX_LENGTH + 1, f"at most {MAX_LENGTH} characters", f"{len(text)}")
    return [*_scanned(text), Token("end", "", len(text) + 1, "")]


def _scanned(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        if match.lastgroup != "space":
            yield _token(match, at + 1)
        at = match.end()


def _token(match: re.Match[str], column: int) -> Token:
    written = match.group()
    if match.lastgroup == "number":
        return Token("number", _number(written, column), column, written)
    if match.lastgroup == "text":
        return Token("text", _unescaped(written, column), column, written)
    if match.lastgroup == "quoted":
        return Token("name", written[1:-1], column, written)
    if match.lastgroup == "name":
        word = written.lower()
        return Token(word, word, column, written) if word in KEYWORDS else Token("name", written, column, written)
    return Token(written, written, column, written)


def _number(written: str, column: int) -> int | float:
    if written.lstrip("-").isdigit():
        return int(written)
    value = float(written)
    if not math.isfinite(value):
        raise InvalidFilter(column, "a number below 1.8e308", written)
    return value


def _unescaped(written: str, column: int) -> str:
    parts, at = [], 1
    while at < len(written) - 1:
        character = written[at]
        if character == "\\":
            at += 1
            if written[at] not in ESCAPES:
                raise InvalidFilter(column + at - 1, r"one of \" \' \\ \n \t", f"\\{written[at]}")
            character = ESCAPES[written[at]]
        parts.append(character)
        at += 1
    return "".join(parts)


def _unreadable(text: str, at: int) -> InvalidFilter:
    character = text[at]
    if character in "\"'`":
        return InvalidFilter(len(text) + 1, f"a closing {character} (it was opened in column {at + 1})", "the end")
    expected = {"=": "==", "!": "!= or not", "&": "and", "|": "or"}.get(character, "an attribute, a number, a text or a sign")
    return InvalidFilter(at + 1, expected, repr(character))
