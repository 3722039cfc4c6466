"""A bank of one model that counts, with the interface of the real one: small enough to say what it must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidSettings
from stream_workers.models.online.columns import Interactions, Outcome

ROOM = 64  # of each of the two tables


class TinyBank:
    """Counts the events of each item and of each user; ranks by the counts."""

    names = ("counts", "blend")

    def __init__(self, width: int = 16) -> None:
        self._dtype = f"S{width}"
        self._tables = {name: np.zeros(ROOM, self._dtype) for name in ("items", "users")}
        self._counts = {name: np.zeros(ROOM, np.int64) for name in ("items", "users")}
        self.described: dict[str, tuple[Sequence[str], str | None]] = {}

    def count(self, table: str, identifier: str) -> int:
        return int(self._counts[table][self._row(table, identifier)])

    def advance(self, batch: Interactions, ranked: NDArray[np.bool_]) -> Outcome:
        ranks = []
        for user, item, undo, is_ranked in zip(batch.users, batch.items, batch.undo.tolist(), ranked.tolist(), strict=True):
            if is_ranked:
                mine = self.count("items", item)
                ranks.append(int((self._counts["items"] >= mine).sum()) if mine else 0)
            step = -1 if undo else 1
            self._counts["items"][self._row("items", item)] += step
            self._counts["users"][self._row("users", user)] += step
        n = len(ranks)
        none = np.zeros(n, np.int32)
        both = np.array(ranks, np.int32).reshape(n, 1).repeat(2, axis=1)
        return Outcome(
            np.flatnonzero(ranked), self.names, both, np.full((n, 2, 20), -1, np.int32), none, none > 0, none, none,
            np.zeros(n), none + 1, np.zeros((n, 2), np.float32),
        )  # fmt: skip

    def describe(self, item_id: str, categories: Sequence[str] = (), title: str | None = None) -> None:
        self.described[item_id] = (categories, title)

    def forget(self, user_id: str) -> None:
        self._counts["users"][self._row("users", user_id)] = 0

    def state(self) -> dict[str, NDArray[Any]]:
        return {f"{name}.ids": ids for name, ids in self._tables.items()} | {f"{n}.counts": c for n, c in self._counts.items()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        if state["items.ids"].dtype != self._dtype:
            raise InvalidSettings("ids of another width")
        for name in self._tables:
            self._tables[name], self._counts[name] = state[f"{name}.ids"], state[f"{name}.counts"]

    def _row(self, table: str, identifier: str) -> int:
        ids, raw = self._tables[table], identifier.encode()
        found = np.flatnonzero((ids == raw) | (ids == b""))
        ids[found[0]] = raw
        return int(found[0])
