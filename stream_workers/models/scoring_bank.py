"""The online models as the API asks them: without a score for every item, and about items that they would not have proposed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.bank import NOTHING, ModelBank
from stream_workers.models.online.columns import History, Interactions, Outcome
from stream_workers.models.online.predicting import score_pool
from stream_workers.models.online.searching import Touched, complete, new_touched, search_candidates
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.standing import Standing, new_standing, stand
from stream_workers.models.online.world import MODELS, SPARE, Person, Scratch

F32 = NDArray[np.float32]
_LARGEST_POOL: Final = 640  # of the bank: so many candidates it can score at once


class ScoringBank(ModelBank):
    """A bank that searches instead of scoring every item, and that also scores given items. Whoever changes what it holds, by
    `load` or in the arrays of `state`, calls `stand` before it is asked again.
    """

    _standing: Standing | None = None
    _touched: Touched

    def stand(self) -> None:
        """Work out what all questions to the models, as they are now, have in common."""
        standing = new_standing(len(self._world.log.item_last))
        if len(self.items):
            stand(self._world, self._numbers, len(self.items), standing, self._scratch.scores[SPARE], self._scratch.heap)
        self._standing = standing

    def warm_up(self) -> None:
        """Score nothing once: what only this one asks is compiled with all other kernels, and not while people wait."""
        score_pool(self._world, self._person, self._scratch, 0, False)

    def advance(self, batch: Interactions, ranked: NDArray[np.bool_], models: Collection[str] = MODELS) -> Outcome:
        """As of `ModelBank`; what was worked out for questions is of no use afterwards."""
        self._standing = None
        outcome = super().advance(batch, ranked, models)
        self._person, self._scratch = self._working_memory()
        return outcome

    def _working_memory(self) -> tuple[Person, Scratch]:
        person, scratch = super()._working_memory()
        self._standing, self._touched = None, new_touched(len(person.marks))
        return person, scratch

    def _rank_candidates(self, numbers: Numbers, said: F32) -> int:
        if self._standing is None:
            self.stand()
        return int(
            search_candidates(
                self._world, self._person, self._scratch, numbers, self._half_lives, self._standing, self._touched,
                len(self.items), said,
            )
        )  # fmt: skip

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
            found |= self._others(proposal.codes, others[start : start + _LARGEST_POOL // 2], NOTHING if said is None else said)
        return np.array([found.get(code, -np.inf) for code in codes], np.float32)

    def _others(self, proposed: NDArray[np.int32], codes: list[int], said: F32) -> dict[int, float]:
        """Scores by code of items that were not proposed, beside the best of those that were: features are relative to the pool."""
        scratch = self._scratch
        kept = proposed[: len(scratch.pool) - len(codes)]
        pool = np.array([*kept.tolist(), *codes], np.int32)
        scratch.in_pool[scratch.pool[: int(scratch.pool_count[0])]] = 0
        scratch.pool[: len(pool)] = pool
        scratch.in_pool[pool] = np.arange(1, len(pool) + 1)
        scratch.pool_count[0] = len(pool)
        complete(self._world, self._person, scratch, self._standing, self._touched, said, len(pool))
        score_pool(self._world, self._person, scratch, len(pool), False)
        return dict(zip(codes, scratch.blended[len(kept) : len(pool)].tolist(), strict=True))
