"""Ids as small integers, so that kernels can work on arrays."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from feature_store.packing import pack_id
from schemas.ids import partition_of


class Interner:
    """Strings to dense indices, with what the kernels and the packers need of each.

    Args:
        partitions: partition count, for `owners`.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._index: dict[str, int] = {}
        self._owners = np.zeros(1024, np.int32)
        self._order = np.zeros(1024, np.uint64)
        self._packed = np.full(1024, b"", object)
        self.ids: list[str] = []

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, identifier: str) -> int:
        """The index of this id, a new one if it was never seen."""
        found = self._index.get(identifier)
        return self._add(identifier) if found is None else found

    def indices(self, identifiers: list[str]) -> NDArray[np.int64]:
        """`index` of each: int64[n]."""
        known = self._index.get
        return np.array([self._add(i) if (at := known(i)) is None else at for i in identifiers], np.int64)

    @property
    def owners(self) -> NDArray[np.int32]:
        """Item partition of each id: int32[len(self)]."""
        return self._owners[: len(self.ids)]

    @property
    def order(self) -> NDArray[np.uint64]:
        """A number per id that depends on nothing but the id: uint64[len(self)]."""
        return self._order[: len(self.ids)]

    @property
    def packed(self) -> NDArray[np.object_]:
        """`pack_id` of each id, and b"" at -1: object[> len(self)]."""
        return self._packed

    def _add(self, identifier: str) -> int:
        found = self._index.get(identifier)
        if found is not None:  # twice in one call of `indices`
            return found
        at = len(self.ids)
        if at + 1 == len(self._owners):  # the last place stays empty, see `packed`
            self._owners = np.concatenate((self._owners, np.zeros_like(self._owners)))
            self._order = np.concatenate((self._order, np.zeros_like(self._order)))
            self._packed = np.concatenate((self._packed, np.full(len(self._packed), b"", object)))
        self._owners[at] = partition_of(identifier, self._partitions)
        digest = hashlib.blake2b(identifier.encode(), digest_size=8).digest()
        self._order[at] = int.from_bytes(digest, "little")
        self._index[identifier] = at
        self.ids.append(identifier)
        self._packed[at] = pack_id(identifier)
        return at
