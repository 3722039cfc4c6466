"""What is said of a filter that cannot be understood."""

from __future__ import annotations

from schemas.errors import InvalidInput


class InvalidFilter(InvalidInput):
    """A filter that is not one.

    Attributes:
        column: of the character at fault, from 1.
        expected: what could have stood there. found: what stands there.
    """

    def __init__(self, column: int, expected: str, found: str) -> None:
        super().__init__(f"column {column}: expected {expected}, found {found}")
        self.column = column
        self.expected = expected
        self.found = found
