"""Ids as small integers, kept in arrays so that they are stored and followed like every other state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


class IdTable:
    """Codes 0, 1, 2, ... in the order of appearance. The code of a forgotten id stays taken, by "", until `kept` leaves it out.

    >>> table = IdTable()
    >>> table.codes(["b", "a", "b"]).tolist(), table.ids
    ([0, 1, 0], ['b', 'a'])
    """

    def __init__(self, ids: Sequence[str] = ()) -> None:
        self._code: dict[str, int] = {}
        self._text: NDArray[np.uint8] = np.zeros(1024, np.uint8)
        self._ends: NDArray[np.int64] = np.zeros(64, np.int64)
        self.ids: list[str] = []
        self.codes(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def code(self, identifier: str) -> int:
        """The code of an id, -1 if it was never seen."""
        return self._code.get(identifier, -1)

    def known(self, identifiers: Iterable[str]) -> list[int]:
        """The code of each, -1 for what was never seen."""
        return list(map(self._code.get, identifiers, repeat(-1)))

    def codes(self, identifiers: Sequence[str]) -> NDArray[np.int32]:
        """int32[n]; what was never seen gets the next codes."""
        known = self._code.get
        return np.array([self._add(i) if (at := known(i)) is None else at for i in identifiers], np.int32)

    def forget(self, code: int) -> None:
        """Remove an id, every byte of it."""
        start = int(self._ends[code - 1]) if code else 0
        self._text[start : self._ends[code]] = 0
        self._code.pop(self.ids[code], None)
        self.ids[code] = ""

    def kept(self, codes: Iterable[int]) -> IdTable:
        """A table of these ids alone, which get the codes 0, 1, 2, ..."""
        table = IdTable()
        for code in codes:
            start = int(self._ends[code - 1]) if code else 0
            table._append(self.ids[code], self._text[start : self._ends[code]])
        return table

    def state(self, name: str) -> dict[str, NDArray[np.generic]]:
        """The ids as one UTF-8 text (uint8; NUL where one was forgotten) and where each ends in it (int64)."""
        used = len(self.ids)
        length = int(self._ends[used - 1]) if used else 0
        return {f"{name}.text": self._text[:length], f"{name}.ends": self._ends[:used]}

    @classmethod
    def loaded(cls, state: Mapping[str, NDArray[np.generic]], name: str) -> IdTable:
        """Inverse of `state`."""
        table = cls()
        text = state[f"{name}.text"].astype(np.uint8)
        raw = text.tobytes()
        start = 0
        for end in state[f"{name}.ends"].tolist():
            piece = raw[start:end]
            table._append(piece.decode() if piece.strip(b"\0") else "", text[start:end])
            start = end
        return table

    def _add(self, identifier: str) -> int:
        found = self._code.get(identifier)
        if found is not None:  # twice in one call of `codes`
            return found
        return self._append(identifier, np.frombuffer(identifier.encode(), np.uint8))

    def _append(self, identifier: str, raw: NDArray[np.uint8]) -> int:
        """Give the next code. `identifier`: "" for one that was forgotten, whose place in the text stays."""
        code = len(self.ids)
        start = int(self._ends[code - 1]) if code else 0
        self._text = grown_to(self._text, start + len(raw))
        self._ends = grown_to(self._ends, code + 1)
        self._text[start : start + len(raw)] = raw
        self._ends[code] = start + len(raw)
        if identifier or not len(raw):
            self._code[identifier] = code
        self.ids.append(identifier)
        return code


def grown_to(array: NDArray[T], length: int) -> NDArray[T]:
    """The array, or one twice as long with zeros behind, until it holds `length`."""
    while len(array) < length:
        array = np.concatenate((array, np.zeros_like(array)))
    return array
