"""A published version as it is asked: the scorer, and which item and which user its rows are. Pure; the files were read before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from feature_store.version_arrays import StoredVersion
from stream_workers.models.deep.scorer import Query, Scorer

LoadScorer = Callable[[str, Mapping[str, NDArray[Any]], Mapping[str, Any]], Scorer]
"""`stream_workers.models.deep.loading.load_scorer`: kind, arrays, settings to the scorer."""


class PublishedModel(NamedTuple):
    """One version, ready to answer.

    Attributes:
        model: its name. version: the version's. item_ids, user_ids: which item, which user row p is.
        item_rows, user_rows: the other way round.
    """

    model: str
    version: str
    scorer: Scorer
    item_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    item_rows: Mapping[str, int]
    user_rows: Mapping[str, int]

    @property
    def name(self) -> str:
        """`model@version`."""
        return f"{self.model}@{self.version}"

    @classmethod
    def of(cls, model: str, version: str, scorer: Scorer, item_ids: Sequence[str], user_ids: Sequence[str]) -> Self:
        """The model whose rows are these items and users."""
        items, users = ({one: row for row, one in enumerate(ids)} for ids in (item_ids, user_ids))
        return cls(model, version, scorer, tuple(item_ids), tuple(user_ids), items, users)

    def query(
        self, user_id: str, item_ids: Sequence[str], timestamps: Sequence[int], now: int, weights: Sequence[float] | None = None
    ) -> Query:
        """What the scorer is asked for a person with this history, oldest first; items that it does not know are left out.

        Args:
            timestamps: event times, ms. now: the moment, ms. weights: what each event says of its item; 1 without.
        """
        rows = np.array([self.item_rows.get(item, -1) for item in item_ids], np.int64)
        known = rows >= 0
        values = np.ones(len(rows), np.float32) if weights is None else np.asarray(weights, np.float32)
        times = np.asarray(timestamps, np.int64)[known]
        return Query(self.user_rows.get(user_id, -1), rows[known], times, now, values[known])


def published_model(stored: StoredVersion, load_scorer: LoadScorer) -> PublishedModel:
    """The model of what `feature_store.model_versions.read_version` has read.

    Raises:
        InvalidInput: an unknown kind, or arrays that do not belong together.
    """
    scorer = load_scorer(stored.manifest.kind, stored.arrays, stored.manifest.settings)
    return PublishedModel.of(stored.manifest.model, stored.version, scorer, stored.item_ids, stored.user_ids)
