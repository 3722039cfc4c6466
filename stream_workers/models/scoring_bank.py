"""The online models as the API asks them: without a score for every item, and about items that they would not have proposed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.bank import NOTHING, ModelBank, SaysOfSome
from stream_workers.models.online.capacity import Room
from stream_workers.models.online.columns import History, Interactions, Outcome, Proposal
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.searching import Touched, new_touched, score_found, search_candidates, search_pool
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.standing import Standing, new_standing, stand
from stream_workers.models.online.world import MODELS, Person, Scratch
from stream_workers.models.world_views import world_over

F32 = NDArray[np.float32]
_LARGEST_POOL: Final = 640  # of the bank: so many candidates it can score at once


class _SaysNothing:
    """A published model that knows no item."""

    def best(self, k: int) -> NDArray[np.int32]:
        return np.full((1, k), -1, np.int32)

    def __len__(self) -> int:
        return 1

    def of(self, codes: NDArray[np.int32]) -> F32:
        return np.zeros((1, len(codes)), np.float32)


class ScoringBank(ModelBank):
    """A bank that searches instead of scoring every item, and that also scores given items. Whoever changes what it holds, by
    `load` or in the arrays of `state`, calls `stand` before it is asked again.
    """

    _standing: Standing | None = None
    _touched: Touched
    _said: F32 | SaysOfSome = NOTHING  # by published models in the last question

    def stand(self) -> None:
        """Work out what all questions to the models, as they are now, have in common."""
        standing = new_standing(len(self._world.log.item_last))
        if len(self.items):
            # Not in the working memory: another bank that has the same one may be asked meanwhile.
            stand(self._world, self._numbers, len(self.items), standing, np.zeros(len(self.items), np.float32))
        self._standing = standing

    def warm_up(self) -> None:
        """Ask for nothing once: what only this one asks is compiled with all other kernels, and not while people wait."""
        self._score_pool(0)
        nobody = History(None, [], np.zeros(0, np.uint8), np.zeros(0, np.int64))
        self.recommend(nobody, 0, 1, (), _SaysNothing())

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

    def _rank_candidates(self, numbers: Numbers, said: F32 | SaysOfSome) -> int:
        self._said = said
        if self._standing is None:
            self.stand()
        asked = (self._world, self._person, self._scratch, numbers, self._half_lives, self._standing, self._touched)
        if isinstance(said, np.ndarray):
            return int(search_candidates(*asked, len(self.items), said))
        count = int(search_pool(*asked, len(self.items), said.best(numbers.pool + int(self._person.counts[1]))))
        self._score_pool(count)
        return count

    def _score_pool(self, count: int) -> None:
        """Score the first `count` candidates of the working memory."""
        pool, said = self._scratch.pool[:count], self._said
        if not len(said):
            of_pool = np.zeros((0, count), np.float32)
        else:
            of_pool = np.ascontiguousarray(said[:, pool]) if isinstance(said, np.ndarray) else said.of(pool)
        score_found(self._world, self._person, self._scratch, self._standing, self._touched, of_pool, count)

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
        self, items: Sequence[str], history: History, now_ms: int, exclude: Collection[str] = (),
        said: F32 | SaysOfSome | None = None, again: bool = False,
    ) -> F32:  # fmt: skip
        """The blend's score of each item for somebody with this history, float32[len(items)]; -inf for one it knows nothing of,
        NaN for one that must not be shown to them: excluded, had before (unless it may come again), or refused, however long ago.

        What it proposes itself has exactly the score of `recommend`. The others are scored beside the best of it, with the features
        of an item that is on no source's list.

        Args:
            exclude, said, again: as of `recommend`.
        """
        return self.beside(self.recommend(history, now_ms, _LARGEST_POOL, exclude, said, again), items)

    def beside(self, proposal: Proposal, items: Sequence[str]) -> F32:
        """The same for the person and the moment of the question that was asked last.

        Args:
            proposal: all of the answer to it, or a part.
        """
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
        self._score_pool(len(pool))
        return dict(zip(codes, scratch.blended[len(kept) : len(pool)].tolist(), strict=True))
