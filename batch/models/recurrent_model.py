"""What both recurrent models are: a network of the next item, trained on windows of histories."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import keras
import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import InteractionLog, enough_to_learn
from batch.datasets.negatives import Sampler
from batch.datasets.sequences import NOTHING, Windows, windows
from batch.models.interface import Entries, OneOf, Space, Span, Watch
from batch.models.item_labels import item_labels, label_names
from batch.models.keras_model import KerasModel
from batch.models.recurrent_network import CellKind, NextItem, Shape
from batch.models.training import begin
from batch.models.warm_start import Speaks
from schemas.errors import InvalidInput
from stream_workers.models.deep.recurrent import gap_input
from stream_workers.models.deep.scorer import Scorer

_ALL_UP_TO: Final = 2000
"""Items up to which the loss is over the whole catalogue."""
_DRAWN: Final = 500
_LONGEST_STEP: Final = 5.0
"""Length to which a batch's gradient is cut."""

Batch = tuple[dict[str, NDArray[Any]], NDArray[Any], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class RecurrentModel(KerasModel):
    """Cross-entropy of the next item at every place of a user's history.

    GRU4Rec (Hidasi et al., ICLR 2016) with the loss of later work, which matters more than the architecture: over all items, or
    over a sample of them with the logQ correction.

    Attributes:
        size, hidden, dropout, forget, tied: see `Shape`.
        labels: categories and tags that item vectors are made of, besides the item itself; see `item_labels`.
        window, stride: length of the pieces of history that are learnt from, and from one to the next.
        negatives: items drawn for each batch; None: 500, or all items where there are at most 2,000.
        power: of the item's count in drawing them.
        rate, decay: of AdamW (Loshchilov and Hutter, ICLR 2019) in place of Adam; the item biases do not decay.
    """

    size: int = 64
    hidden: int = 128
    dropout: float = 0.3
    forget: float = 0.3
    tied: bool = True
    labels: int = 128
    window: int = 50
    stride: int = 25
    negatives: int | None = None
    power: float = 0.75
    batch: int = 64
    epochs: int = 20
    patience: int = 4
    rate: float = 3e-3
    decay: float = 0.3

    space: ClassVar[Space] = {
        "size": OneOf((32, 64, 128)), "hidden": OneOf((64, 128, 192)), "dropout": Span(0.1, 0.6), "forget": Span(0.0, 0.5),
        "rate": Span(0.001, 0.01, log=True), "decay": Span(0.03, 1.0, log=True),
    }  # fmt: skip

    @property
    @abstractmethod
    def cell(self) -> CellKind:
        """The recurrence."""

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> Scorer:  # noqa: B008
        """See `BatchModel`."""
        pieces = windows(enough_to_learn(train), self.window, self.stride)
        if not len(pieces.targets):
            raise InvalidInput(
                f"no user of {len(train.user_ids)} has two interactions; {self.name} learns which item follows which"
            )
        begin(seed)
        network, counts = self._network(train), train.item_counts
        epochs = _Epochs(pieces, Sampler(counts, self.power), self._drawn(len(counts)), self.batch, seed)
        make = partial(network.scorer, counts > 0)
        return self.trained(network, epochs, make, (train, later), seed, watch, self._speaks(network, train))

    def _speaks(self, network: NextItem, train: InteractionLog) -> Speaks:
        """See `warm_start`."""
        items, labels = Entries(0, train.catalogue.ids), Entries(0, label_names(train.catalogue, self.labels))
        own = [(table, items) for table in (network.scored[0], network.read[0], network.bias)]
        return [*own, *((table, labels) for table in (network.scored[1], network.read[1]))]

    def _network(self, train: InteractionLog) -> NextItem:
        """The untrained network for this log's items, compiled and built."""
        counts = train.item_counts + 1.0
        log_shares = np.log(counts / counts.sum()).astype(np.float32)
        shape = Shape(self.size, self.hidden, self.dropout, self.forget, self.tied)
        network = NextItem(shape, self.cell, log_shares, item_labels(train.catalogue, self.labels))
        network.build(None)
        optimizer = keras.optimizers.AdamW(self.rate, weight_decay=self.decay, global_clipnorm=_LONGEST_STEP)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
        network.compile(optimizer, loss, jit_compile=False)
        return network

    def _drawn(self, items: int) -> int:
        """Negatives for each batch, 0: all items."""
        if self.negatives is not None:
            return self.negatives
        return 0 if items <= _ALL_UP_TO else _DRAWN


class _Epochs:
    """The batches of an epoch by its number: windows in an order of their own, negatives drawn for each batch."""

    def __init__(self, pieces: Windows, sampler: Sampler, negatives: int, size: int, seed: int) -> None:
        self._inputs = {"items": np.maximum(pieces.inputs.items, 0).astype(np.int32), "gaps": gap_input(pieces.inputs.gaps)}
        self._targets = np.maximum(pieces.targets, 0).astype(np.int32)
        self._counts = (pieces.targets != NOTHING).astype(np.float32)
        self._sampler, self._negatives, self._size, self._seed = sampler, negatives, size, seed

    def __call__(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(len(self._targets))
        for start in range(0, len(order), self._size):
            yield self._batch(order[start : start + self._size], rng)

    def _batch(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        inputs: dict[str, NDArray[Any]] = {name: column[rows] for name, column in self._inputs.items()}
        targets = self._targets[rows]
        if not self._negatives:
            return inputs, targets, self._counts[rows]
        drawn = self._sampler.draw(rng, self._negatives)
        sampled = {"targets": targets, "candidates": drawn.items.astype(np.int32), "log_counts": drawn.log_counts}
        return inputs | sampled, np.zeros_like(targets), self._counts[rows]
