"""The online models, asked about items that they would not have proposed themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.capacity import Room
from stream_workers.models.online.columns import History
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.predicting import score_pool
from stream_workers.models.world_views import world_over

F32 = NDArray[np.float32]
_LARGEST_POOL: Final = 640  # of the bank: so many candidates it can score at once


class ScoringBank(ModelBank):
    """A bank that also scores given items. It is only asked, never taught."""

    def warm_up(self) -> None:
        """Score nothing once: what only this one asks is compiled with all other kernels, and not while people wait."""
        score_pool(self._world, self._person, self._scratch, 0, False)

    def over(self, arrays: Mapping[str, NDArray[Any]], items: IdTable, users: IdTable) -> Self:
        """Another bank, on arrays that it does not copy and does not change, see `world_views`. It has this one's working memory
        where that is large enough, so only one of the two may be asked at a time.

        Raises:
            InvalidSettings: the arrays are of other settings or of another version.
        """
        bank = copy(self)
        bank._world = world_over(arrays, self._world)
        bank.items, bank.users = items, users
        if Room.of(bank._world.log)[:2] != Room.of(self._world.log)[:2]:
            bank._person, bank._scratch = bank._working_memory()
        return bank

    def scores(
        self, items: Sequence[str], history: History, now_ms: int, exclude: Collection[str] = (), said: F32 | None = None,
        again: bool = False,
    ) -> F32:  # fmt: skip
        """The blend's score of each item for somebody with this history, float32[len(items)]; -inf for one it knows nothing of,
        NaN for one that must not be shown to them: excluded, had before (unless it may come again), or refused, however long ago.

        What it proposes itself has exactly the score of `recommend`. The others are scored beside the best of it, with the features
        of an item that is on no source's list.

        Args:
            exclude, said, again: as of `recommend`.
        """
        proposal = self.recommend(history, now_ms, _LARGEST_POOL, exclude, said, again)
        found = dict(zip(proposal.codes.tolist(), proposal.scores.tolist(), strict=True))
        found |= dict.fromkeys(self._person.taken[: self._person.counts[1]].tolist(), np.nan)
        codes = self.items.known(items)
        others = [code for code in dict.fromkeys(codes) if code >= 0 and code not in found]
        for start in range(0, len(others), _LARGEST_POOL // 2):
            found |= self._others(proposal.codes, others[start : start + _LARGEST_POOL // 2])
        return np.array([found.get(code, -np.inf) for code in codes], np.float32)

    def _others(self, proposed: NDArray[np.int32], codes: list[int]) -> dict[int, float]:
        """Scores by code of items that were not proposed, beside the best of those that were: features are relative to the pool."""
        scratch = self._scratch
        kept = proposed[: len(scratch.pool) - len(codes)]
        pool = np.array([*kept.tolist(), *codes], np.int32)
        scratch.in_pool[scratch.pool[: int(scratch.pool_count[0])]] = 0
        scratch.pool[: len(pool)] = pool
        scratch.in_pool[pool] = np.arange(1, len(pool) + 1)
        scratch.pool_count[0] = len(pool)
        score_pool(self._world, self._person, scratch, len(pool), False)
        return dict(zip(codes, scratch.blended[len(kept) : len(pool)].tolist(), strict=True))
