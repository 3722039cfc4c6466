"""What published models say of the few items that are wanted, for catalogues so large that scoring all of them would be felt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.session_blob import SessionState
from stream_workers.models.deep.published import PublishedModel
from stream_workers.models.deep.recurrent import Recurrent
from stream_workers.models.deep.scorer import F32, I64, Query

_SAMPLE: Final = 1024  # of a model's items: the lowest score among them stands for the lowest of all
I32 = NDArray[np.int32]


class Asked(NamedTuple):
    """One model for one person: `search` finds rows of its best items, `score` scores rows; it has so many items."""

    search: Callable[[int], I64]
    score: Callable[[I64], F32]
    items: int


def asked(model: PublishedModel, query: Query, session: SessionState | None) -> Asked:
    """The model for this query, or from the stored state after it, if that is of this model."""
    scorer, count = model.scorer, len(model.item_ids)
    if session is not None and session.model == model.name and isinstance(scorer, Recurrent):
        user = scorer.vectors_of(session.state[None])[0]
        return Asked(lambda k: scorer.search_vector(user, k), lambda rows: scorer.score_vector(user, rows), count)
    return Asked(lambda k: scorer.search(query, k), lambda rows: scorer.score_some(query, rows), count)


class Searched:
    """M models asked for one person, by the codes of the bank's items.

    Args:
        models: as they are asked. rows: int64[I] of each, the row of every code, -1 where it does not know one.
        codes: int64[P] of each, the code of every row, -1 where the bank does not know one.
    """

    def __init__(self, models: Sequence[Asked], rows: Sequence[I64], codes: Sequence[I64]) -> None:
        self._models, self._rows, self._codes = models, rows, codes

    def __len__(self) -> int:
        return len(self._models)

    def best(self, k: int) -> I32:
        """Codes of each model's best items, best first, -1 behind the last: int32[M, k]."""
        found = np.full((len(self), k), -1, np.int32)
        for m, (model, codes) in enumerate(zip(self._models, self._codes, strict=True)):
            known = codes[model.search(k)]
            known = known[known >= 0]
            found[m, : len(known)] = known
        return found

    def of(self, codes: I32) -> F32:
        """What each model says of n items: float32[M, n]; about its lowest score for those that it does not know."""
        said = np.empty((len(self), len(codes)), np.float32)
        for m, (model, rows_of) in enumerate(zip(self._models, self._rows, strict=True)):
            rows = rows_of[codes]
            known = rows >= 0
            sample = np.linspace(0, model.items - 1, _SAMPLE).astype(np.int64)
            scores = model.score(np.concatenate((rows[known], sample)))
            said[m] = scores.min()
            said[m, known] = scores[: int(known.sum())]
        return said
