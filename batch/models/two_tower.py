"""Two-tower retrieval: a user's recent items and an item's content and id become vectors of one space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Final

import keras
import numpy as np

from batch.datasets.interactions import F32, I64, InteractionLog, enough_to_learn
from batch.models.candidates import EXCLUDED, InBatch
from batch.models.content import content_of
from batch.models.interface import OneOf, Shuffles, Space, Span, Watch
from batch.models.keras_model import KerasModel
from batch.models.prefixes import picked, prefixes
from batch.models.shuffled import usual_shuffles
from batch.models.training import begin
from batch.models.two_tower_network import TwoTowerNetwork
from stream_workers.models.deep.recent import hour_of_day
from stream_workers.models.deep.towers import TwoTowerScorer, age_buckets

ARRAYS: Final = {"context": ("hours",), "age": ("first_seen",)}
"""Groups of features that lie in the rows of the scorer's arrays."""
_ROWS_STEP: Final = 512  # the number of items in a step is rounded up to it: few shapes, so TensorFlow compiles few graphs
_MS_PER_DAY: Final = 86_400_000


@dataclass(frozen=True, kw_only=True)
class TwoTower(KerasModel):
    """User tower: attention over the newest items; item tower: title, categories, tags, year, id (`ItemTower`).

    Loss: for each event t of user u who took item i, softmax cross-entropy over the items of the batch and `uniform` further
    items drawn from the whole catalogue, with the expected count of each candidate taken off its logit:
        -log( exp(s_i - log Q_i) / sum_j exp(s_j - log Q_j) ),  Q_j = B * popularity_j + uniform / P.
    Each event is weighted by 0.5 ** ((end of the log - t) / half-life). What was first seen after t is no candidate.
    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019;
    Yang et al., "Mixed Negative Sampling", WWW 2020.

    Attributes:
        width: d, length of the vectors. longest: L, newest items that the user tower looks at.
        temperature: divides the cosine of the two vectors. id_dropout: share of steps in which an item goes without its id.
        uniform: further candidates a step; B is `batch`.
        half_life_days: of an event's weight; 0: all weigh the same.
    """

    width: int = 64
    longest: int = 20
    temperature: float = 0.1
    id_dropout: float = 0.2
    uniform: int = 512
    half_life_days: float = 0.0

    name: ClassVar[str] = "two_tower"
    space: ClassVar[Space] = {
        "width": OneOf((32, 64, 96)), "temperature": Span(0.05, 0.3, log=True), "id_dropout": Span(0.0, 0.5),
        "uniform": OneOf((256, 512, 1024)), "rate": Span(0.0005, 0.01, log=True),
    }  # fmt: skip

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> TwoTowerScorer:  # noqa: B008
        """See `BatchModel`."""
        steps = Steps(self, enough_to_learn(train), seed)
        begin(seed)
        network = self.network(train, steps, seed)
        make = partial(_scorer, network, train.catalogue.first_seen)
        made = self.trained(network, steps, make, (train, later), seed, watch, network.items.speaks(train.catalogue.ids))
        watch.features({**usual_shuffles(made, ARRAYS), **_content_shuffles(network, train.catalogue.first_seen)})
        return made

    def network(self, train: InteractionLog, steps: Steps, seed: int) -> TwoTowerNetwork:
        """Untrained, compiled, with its weights."""
        known = train.item_counts > 0
        network = TwoTowerNetwork(
            content_of(train.catalogue), known, width=self.width, longest=self.longest, temperature=self.temperature,
            dropout=self.id_dropout, seed=seed,
        )  # fmt: skip
        network(steps.inputs(np.arange(2), np.random.default_rng(seed)))  # makes the weights
        network.compile(keras.optimizers.Adam(self.rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return network


def _scorer(network: TwoTowerNetwork, first_seen: I64) -> TwoTowerScorer:
    return TwoTowerScorer(network.arrays(first_seen))


def _content_shuffles(network: TwoTowerNetwork, first_seen: I64) -> Shuffles:
    """The columns of `ItemTower`, by the names that people know them by."""
    return {group: partial(_other_content, network, first_seen, at) for at, group in enumerate(("text", "categories", "numbers"))}


def _other_content(network: TwoTowerNetwork, first_seen: I64, which: int, rng: np.random.Generator) -> TwoTowerScorer:
    columns = network.items.columns_shuffled(which, rng.permutation(len(first_seen)))
    return TwoTowerScorer(network.arrays(first_seen, columns))


class Steps:
    """The log as training steps; called with the number of an epoch it gives that epoch's batches."""

    def __init__(self, settings: TwoTower, log: InteractionLog, seed: int) -> None:
        self._settings, self._log, self._seed = settings, log, seed
        self._prefixes = prefixes(log, settings.longest)
        self._candidates = InBatch(log.item_counts, settings.batch, settings.uniform)

    @cached_property
    def _weights(self) -> F32:
        """float32[N], mean 1."""
        if not self._settings.half_life_days:
            return np.ones(self._log.size, np.float32)
        days = (self._log.timestamps[-1] - self._log.timestamps) / _MS_PER_DAY
        weights = 0.5 ** (days / self._settings.half_life_days)
        return np.asarray(weights / weights.mean(), np.float32)

    def __call__(self, number: int) -> Iterator[tuple[Any, ...]]:
        """The batches of an epoch."""
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(self._log.size)
        for start in range(0, len(order), self._settings.batch):
            events = order[start : start + self._settings.batch]
            yield self.inputs(events, rng), np.arange(len(events)), self._weights[events]

    def inputs(self, events: I64, rng: np.random.Generator) -> dict[str, Any]:
        """What the network is given for these events; items are numbered within the step, `rows` has their rows."""
        found = picked(self._prefixes, events)
        candidates, offsets = self._candidates.of(self._log.items[events], rng)
        rows, places = np.unique(np.concatenate([candidates, found.items.ravel()]), return_inverse=True)
        moments = self._log.timestamps[events]
        ages = moments[:, None] - self._log.catalogue.first_seen[candidates]
        return {
            "rows": np.pad(np.maximum(rows, 0), (0, -len(rows) % _ROWS_STEP)), "candidates": places[: len(candidates)],
            "history": places[len(candidates) :].reshape(found.items.shape), "present": found.present.astype(np.float32),
            "gaps": found.gaps, "hours": hour_of_day(moments), "ages": age_buckets(ages), "dated": _dated(ages),
            "offsets": np.where(ages < 0, EXCLUDED, offsets),
        }  # fmt: skip


def _dated(ages: I64) -> F32:
    """float32[B]: 0 for an item's very first event where that is all that dates it, as its age of 0 would give it away; else 1."""
    return (np.diagonal(ages) > 0).astype(np.float32)
