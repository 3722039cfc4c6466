"""Ids as small integers, kept in arrays so that they are stored and followed like every other state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


class IdTable:
    """Codes 0, 1, 2, ... in the order of appearance.

    >>> table = IdTable()
    >>> table.codes(["b", "a", "b"]).tolist(), table.ids
    ([0, 1, 0], ['b', 'a'])
    """

    def __init__(self, ids: Sequence[str] = ()) -> None:
        self._code: dict[str, int] = {}
        self._text = np.zeros(1024, np.uint8)
        self._ends = np.zeros(64, np.int64)
        self.ids: list[str] = []
        self.codes(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def code(self, identifier: str) -> int:
        """The code of an id, -1 if it was never seen."""
        return self._code.get(identifier, -1)

    def codes(self, identifiers: Sequence[str]) -> NDArray[np.int32]:
        """int32[n]; what was never seen gets the next codes."""
        known = self._code.get
        return np.array([self._add(i) if (at := known(i)) is None else at for i in identifiers], np.int32)

    def state(self, name: str) -> dict[str, NDArray[np.generic]]:
        """The ids as one UTF-8 text (uint8) and where each ends in it (int64)."""
        used = len(self.ids)
        length = int(self._ends[used - 1]) if used else 0
        return {f"{name}.text": self._text[:length], f"{name}.ends": self._ends[:used]}

    @classmethod
    def loaded(cls, state: Mapping[str, NDArray[np.generic]], name: str) -> IdTable:
        """Inverse of `state`."""
        text = state[f"{name}.text"].astype(np.uint8).tobytes()
        ends = [0, *state[f"{name}.ends"].tolist()]
        return cls([text[start:end].decode() for start, end in zip(ends, ends[1:], strict=False)])

    def _add(self, identifier: str) -> int:
        found = self._code.get(identifier)
        if found is not None:  # twice in one call of `codes`
            return found
        code = len(self.ids)
        raw = np.frombuffer(identifier.encode(), np.uint8)
        start = int(self._ends[code - 1]) if code else 0
        self._text = grown_to(self._text, start + len(raw))
        self._ends = grown_to(self._ends, code + 1)
        self._text[start : start + len(raw)] = raw
        self._ends[code] = start + len(raw)
        self._code[identifier] = code
        self.ids.append(identifier)
        return code


def grown_to(array: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    """The array, or one twice as long with zeros behind, until it holds `length`."""
    while len(array) < length:
        array = np.concatenate((array, np.zeros_like(array)))
    return array
