"""The interactions of each user, oldest first, restricted to what a log knows: the rows that autoencoders learn from."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from batch.datasets.interactions import F32, I64, InteractionLog


class UserRows(NamedTuple):
    """Interactions grouped by user; those of the k-th user with any are starts[k] to starts[k + 1] - 1.

    Attributes:
        items: int64[N], columns of `known`. ratings: float32[N]. starts: int64[U + 1].
        known: int64[K], rows of the catalogue that the log speaks of, in their order.
    """

    items: I64
    ratings: F32
    starts: I64
    known: I64

    @classmethod
    def of(cls, log: InteractionLog) -> Self:
        """All of the log's interactions."""
        order = np.argsort(log.users, kind="stable")
        known, columns = np.unique(log.items[order], return_inverse=True)
        _, starts = np.unique(log.users[order], return_index=True)
        return cls(columns.astype(np.int64), log.ratings[order], np.append(starts, log.size), known)

    @property
    def users(self) -> int:
        """U, users with an interaction."""
        return len(self.starts) - 1

    def span(self, user: int) -> slice:
        """Where the k-th user's interactions are."""
        return slice(int(self.starts[user]), int(self.starts[user + 1]))
