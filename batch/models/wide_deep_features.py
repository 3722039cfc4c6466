"""The features of Wide & Deep as they were at each event: nothing of the event itself, nothing of later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import F32, I64, InteractionLog
from batch.models.candidates import EXCLUDED, Mixture
from batch.models.popularity_then import DecayedCounts
from batch.models.prefixes import picked, prefixes
from stream_workers.models.deep.crosses import crossed, favourites
from stream_workers.models.deep.recent import decayed_shares, hour_of_day
from stream_workers.models.deep.wide_deep import SINCE_SCALE, age_number, log_share

_MS_PER_HOUR: Final = 3_600_000
_HALF_UNIFORM: Final = 0.5


class Features:
    """The log as training steps: each event's item against `negatives` drawn ones, half uniformly, half by popularity.

    Args:
        categories: int32[P, n], numbers from 1, 0 for none. half_life, longest: of the history, in items.
        half_lives, staleness: of the popularity, in hours. buckets: of the crosses.
    """

    def __init__(
        self, log: InteractionLog, categories: NDArray[np.int32], *, half_life: float, longest: int, half_lives: Sequence[float],
        buckets: int, negatives: int, batch: int, staleness: float, seed: int,
    ) -> None:  # fmt: skip
        self._log, self._categories, self._buckets = log, categories, buckets
        self._negatives, self._batch, self._staleness, self._seed = negatives, batch, staleness, seed
        self._prefixes = prefixes(log, longest)
        self._amounts = decayed_shares(self._prefixes.present, half_life)
        self._favourites = favourites(self._prefixes.items, self._amounts, categories, 1 + int(categories.max(initial=0)))
        spans = [hours * _MS_PER_HOUR for hours in half_lives]
        self._counts = [DecayedCounts(log.items, log.timestamps, span) for span in spans]
        self._totals = [DecayedCounts(np.zeros_like(log.items), log.timestamps, span) for span in spans]
        self._drawn = Mixture.of(log.item_counts, _HALF_UNIFORM)

    def __call__(self, epoch: int) -> Iterator[tuple[dict[str, Any], I64]]:
        """The batches of an epoch; the item that was taken is candidate 0."""
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(self._log.size)
        for start in range(0, len(order), self._batch):
            events = order[start : start + self._batch]
            yield self.inputs(events, rng), np.zeros(len(events), np.int64)

    def inputs(self, events: I64, rng: np.random.Generator) -> dict[str, Any]:
        """What the network is given for these events."""
        targets, moments = self._log.items[events, None], self._log.timestamps[events]
        candidates = np.concatenate([targets, self._drawn.draw((len(events), self._negatives), rng)], axis=1)
        again = candidates == targets
        again[:, 0] = False
        found = picked(self._prefixes, events)
        return {
            "history": np.maximum(found.items, 0), "amounts": self._amounts[events], "hours": hour_of_day(moments),
            "since": found.gaps[:, :1] / SINCE_SCALE, "candidates": candidates,
            "numbers": self._numbers(candidates, moments[:, None], self._lags(len(events), rng)[:, None]),
            "crosses": crossed(found.items, self._favourites[events], candidates, self._categories, self._buckets),
            "offsets": np.where(again, EXCLUDED, -self._drawn.log_probabilities()[candidates]),
        }  # fmt: skip

    def _lags(self, count: int, rng: np.random.Generator) -> I64:
        """How old the popularity is that each event is learnt with, ms: where the model serves it is as old as the model."""
        return rng.exponential(self._staleness * _MS_PER_HOUR, count).astype(np.int64)

    def _numbers(self, items: I64, moments: I64, lags: I64) -> F32:
        """Popularity shares and age: float32[..., s + 1]."""
        ages = age_number(moments - self._log.catalogue.first_seen[items])
        return np.concatenate([self.shares(items, moments - lags), ages[..., None]], axis=-1)

    def shares(self, items: I64, moments: I64) -> F32:
        """The log popularity shares of items at moments (which broadcast): float32[..., s]."""
        anything = np.zeros_like(moments)
        pairs = zip(self._counts, self._totals, strict=True)
        return np.stack([log_share(one.at(items, moments), all_.at(anything, moments)) for one, all_ in pairs], axis=-1)
