"""What most people took: the baseline that costs nothing, and on a split by time often beats what costs much."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from batch.datasets.interactions import InteractionLog, enough_to_learn
from batch.models.choosing import best_of
from batch.models.interface import BatchModel, Watch
from batch.models.later_quality import later_quality
from stream_workers.models.deep.item_scores import ItemScores
from stream_workers.models.deep.scorer import Scorer

_DAY_MS: Final = 86_400_000
_OLDER: Final = 1e-6
"""What an interaction before the window counts: it only orders items that have none within it."""


@dataclass(frozen=True)
class Popularity(BatchModel):
    """score(item) = interactions with it in the last `days` + 1e-6 times those before.

    Attributes:
        days: windows to choose from, by the quality on the later log; on films weeks are best, on news minutes.
    """

    name = "popularity"
    days: tuple[float, ...] = (1.0, 7.0, 30.0, 90.0, 365.0, 3650.0)

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> Scorer:  # noqa: B008
        """See `BatchModel`."""
        enough_to_learn(train)
        makers = [partial(_counted, train, days * _DAY_MS) for days in self.days]
        return best_of(makers, later_quality(train, later, seed=seed), len(makers) - 1, watch)


@dataclass(frozen=True)
class PopularityAllTime(BatchModel):
    """score(item) = interactions with it."""

    name = "popularity_all_time"

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> Scorer:  # noqa: B008
        """See `BatchModel`."""
        watch.progress(1, 1)
        return ItemScores(enough_to_learn(train).item_counts.astype(np.float32))


def _counted(log: InteractionLog, span_ms: float) -> Scorer:
    fresh = log.timestamps > log.timestamps[-1] - span_ms
    weights = np.where(fresh, 1.0, _OLDER)
    return ItemScores(np.bincount(log.items, weights, minlength=log.catalogue.size).astype(np.float32))
