"""The floor: river's own recommenders, run through the same protocol.

river ranks by asking its model for every item in turn, so only a sample of the questions can be asked in reasonable time; it learns
from every event. Where events have no rating, each is learnt as 1 and a random item seen before as 0, or it would have nothing to
tell apart. (Montiel et al., River: machine learning for streaming data in Python, JMLR 2021.)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import reco

from schemas.events import TYPE_WEIGHTS
from stream_workers.models.online.columns import Interactions, Outcome
from stream_workers.models.online.id_table import IdTable

if TYPE_CHECKING:
    from river.reco.base import Ranker

_MODELS: Final = {"river_biased_mf": reco.BiasedMF, "river_baseline": reco.Baseline}
RIVER_MODELS: Final = tuple(_MODELS)
_TOP: Final = 20


class _Answer(NamedTuple):
    """One question's row of an `Outcome`, with a single model."""

    event: int
    rank: int
    top: NDArray[np.int32]
    pool: int
    history_length: int
    item_count: int
    item_age_ms: float
    popularity: float


class RiverBank:
    """One of river's rankers as a bank of one model.

    Args:
        name: one of RIVER_MODELS.
        seed: of its initial weights and of the negatives.
        repeats: whether users may take an item again (mode B).
    """

    def __init__(self, name: str, seed: int, repeats: bool) -> None:
        self.names = (name,)
        self._model: Ranker = _MODELS[name](seed=seed) if name == "river_biased_mf" else _MODELS[name]()
        self._repeats = repeats
        self._rng = np.random.default_rng(seed)
        self.items = IdTable()
        self._counts: list[int] = []
        self._first: list[int] = []
        self._taken: dict[str, Counter[int]] = {}

    def advance(self, batch: Interactions, ranked: NDArray[np.bool_], models: Collection[str] = RIVER_MODELS) -> Outcome:
        """Predict (where ranked), then learn, event by event; there is only one model, whatever `models` says."""
        answers = []
        for at in range(len(batch.users)):
            if ranked[at]:
                answers.append(self._answer(batch, at))
            self._learn(batch, at)
        return _as_outcome(self.names, answers)

    def _answer(self, batch: Interactions, at: int) -> _Answer:
        user, code = batch.users[at], self.items.code(batch.items[at])
        taken = self._taken.get(user, Counter())
        left_out = [] if self._repeats else list(taken)
        scores = np.array([self._model.predict_one(user, item) for item in self.items.ids], np.float64)
        scores[left_out] = -np.inf
        best = np.argsort(-scores, kind="stable")[: min(_TOP, len(scores) - len(left_out))]
        known = code >= 0
        return _Answer(
            event=at,
            rank=int(np.sum(scores >= scores[code])) if known else 0,
            top=np.pad(best, (0, _TOP - len(best)), constant_values=-1).astype(np.int32),
            pool=len(self.items),
            history_length=sum(taken.values()),
            item_count=self._counts[code] if known else 0,
            item_age_ms=float(batch.timestamps[at]) - self._first[code] if known else 0,
            popularity=float(np.mean([self._counts[item] for item in best[:10]])) if len(best) else 0.0,
        )

    def _learn(self, batch: Interactions, at: int) -> None:
        user, item, value = batch.users[at], batch.items[at], float(batch.values[at])
        if batch.undo[at] or TYPE_WEIGHTS[batch.types[at]] <= 0:
            return
        code = int(self.items.codes([item])[0])
        if code == len(self._counts):
            self._counts.append(0)
            self._first.append(int(batch.timestamps[at]))
        self._counts[code] += 1
        self._taken.setdefault(user, Counter())[code] += 1
        self._model.learn_one(user, item, 1.0 if math.isnan(value) else value)
        if math.isnan(value):
            self._model.learn_one(user, self.items.ids[int(self._rng.integers(len(self.items)))], 0.0)


def _as_outcome(names: tuple[str, ...], answers: Sequence[_Answer]) -> Outcome:
    def column(name: str, kind: type[np.generic]) -> NDArray[Any]:
        return np.array([getattr(answer, name) for answer in answers], kind)

    ranks = column("rank", np.int32)
    pool = column("pool", np.int32)
    return Outcome(
        events=column("event", np.int64),
        names=names,
        ranks=ranks[:, None],
        top=np.array([answer.top for answer in answers], np.int32).reshape(len(answers), 1, _TOP),
        pool=pool,
        reachable=ranks > 0,
        history_length=column("history_length", np.int32),
        item_count=column("item_count", np.int32),
        item_age_ms=column("item_age_ms", np.float64),
        items_seen=pool,
        top_popularity=column("popularity", np.float32)[:, None],
    )
