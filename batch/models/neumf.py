"""NeuMF: factors multiplied (GMF) and factors through a network (MLP), side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import I64, InteractionLog, enough_to_learn
from batch.models.candidates import InBatch
from batch.models.interface import Entries, OneOf, Space, Span, Watch
from batch.models.keras_model import KerasModel, as_numpy
from batch.models.prefixes import prefixes
from batch.models.training import begin
from batch.models.warm_start import Speaks
from stream_workers.models.deep.neural_factors import NeuralFactorsScorer
from stream_workers.models.deep.recent import decayed_shares
from stream_workers.models.deep.vectors import UNKNOWN_BIAS


@dataclass(frozen=True, kw_only=True)
class NeuMF(KerasModel):
    """score = w . (p * q) + m . relu(W2 relu(W1 [p'; q'] + b1) + b2) + item bias.

    He et al., "Neural Collaborative Filtering", WWW 2017. There a user is an id, so nobody new can be served. Here p = id vector +
    decayed mean of vectors of the newest items (p' likewise), and in training the id vector is left out with probability
    `user_dropout`: somebody unknown is served by history alone. Loss: softmax over the items of the batch and `uniform` more
    with the logQ correction (see `InBatch`) in place of the paper's cross-entropy on four drawn items, which ranks worse.

    Attributes:
        width: of p, q, p', q'. hidden, second: units of the two layers.
        half_life, longest: of the mean over the history, in items.
    """

    width: int = 48
    hidden: int = 32
    second: int = 16
    half_life: float = 4.0
    longest: int = 20
    user_dropout: float = 0.5
    dropout: float = 0.2
    batch: int = 128
    uniform: int = 128
    rate: float = 0.003
    epochs: int = 10
    patience: int = 2

    name: ClassVar[str] = "neumf"
    space: ClassVar[Space] = {
        "width": OneOf((24, 48, 64)), "half_life": Span(1.0, 10.0, log=True), "user_dropout": Span(0.0, 0.9),
        "dropout": Span(0.0, 0.5), "rate": Span(0.001, 0.01, log=True),
    }  # fmt: skip

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> NeuralFactorsScorer:  # noqa: B008
        """See `BatchModel`."""
        steps = Steps(self, enough_to_learn(train), seed)
        begin(seed)
        network = self.network(train, steps, seed)
        make = partial(self.scorer, network, train.item_counts > 0)
        return self.trained(network, steps, make, (train, later), seed, watch, network.speaks(train))

    def network(self, train: InteractionLog, steps: Steps, seed: int) -> NeuMFNetwork:
        """Untrained, compiled, with its weights."""
        network = NeuMFNetwork(self, len(train.user_ids), train.catalogue.size, seed)
        network(steps.inputs(np.arange(2), np.random.default_rng(seed)))  # makes the weights
        network.compile(keras.optimizers.Adam(self.rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return network

    def scorer(self, network: NeuMFNetwork, known: NDArray[np.bool_]) -> NeuralFactorsScorer:
        """What the network has learnt, ready to serve."""
        return NeuralFactorsScorer(network.arrays(known), self.half_life, self.longest)


class NeuMFNetwork(keras.Model):  # type: ignore[misc]
    """`users` [B], `history` [B, L] with `amounts` [B, L], `candidates` [C], `offsets` [B, C] -> logits [B, C]."""

    def __init__(self, settings: NeuMF, users: int, items: int, seed: int) -> None:
        super().__init__()
        width = settings.width
        self.user_gmf, self.user_mlp = (keras.layers.Embedding(users, width, embeddings_initializer="zeros") for _ in range(2))
        self.history_gmf, self.history_mlp, self.item_gmf, self.item_mlp = (keras.layers.Embedding(items, width) for _ in range(4))
        self.bias = keras.layers.Embedding(items, 1, embeddings_initializer="zeros")
        self.gmf = self.add_weight(shape=(width,), initializer="ones", name="gmf")
        self.user_hidden = keras.layers.Dense(settings.hidden, use_bias=False)
        self.item_hidden = keras.layers.Dense(settings.hidden)
        self.second = keras.layers.Dense(settings.second, activation="relu")
        self.out = keras.layers.Dense(1, use_bias=False)
        self.drop_user = keras.layers.Dropout(settings.user_dropout, noise_shape=(None, 1), seed=seed)
        self.drop = keras.layers.Dropout(settings.dropout, seed=seed + 1)

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """See the class."""
        wanted = inputs["candidates"]
        gmf = self._user(self.user_gmf, self.history_gmf, inputs, training) * self.gmf
        product = keras.ops.matmul(gmf, keras.ops.transpose(self.item_gmf(wanted)))
        mlp = self.user_hidden(self._user(self.user_mlp, self.history_mlp, inputs, training))
        hidden = keras.ops.relu(mlp[:, None, :] + self.item_hidden(self.item_mlp(wanted))[None])
        deep = self.out(self.second(hidden))[..., 0]
        return product + deep + self.bias(wanted)[:, 0] + inputs["offsets"]

    def _user(self, ids: Any, histories: Any, inputs: dict[str, Any], training: bool) -> Any:
        """Id vector + mean of the history's vectors: [B, d]."""
        history = keras.ops.einsum("bl,bld->bd", inputs["amounts"], histories(inputs["history"]))
        return self.drop(history + self.drop_user(ids(inputs["users"]), training=training), training=training)

    def speaks(self, log: InteractionLog) -> Speaks:
        """Which weights speak of users and of items; see `warm_start`."""
        users, items = Entries(0, log.user_ids), Entries(0, log.catalogue.ids)
        of_items = (self.history_gmf, self.history_mlp, self.item_gmf, self.item_mlp, self.bias)
        named = [*((table, users) for table in (self.user_gmf, self.user_mlp)), *((table, items) for table in of_items)]
        return [(table.embeddings, entries) for table, entries in named]

    def arrays(self, known: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """What `NeuralFactorsScorer` needs; items that are not `known` come last."""
        gmf, upper, lower = (as_numpy(one) for one in (self.gmf, self.user_hidden.kernel, self.item_hidden.kernel))
        factors = {"user_gmf": self.user_gmf, "history_gmf": self.history_gmf}
        halves = {"user_mlp": self.user_mlp, "history_mlp": self.history_mlp}
        layers = {"item_gmf": self.item_gmf.embeddings, "kernel": self.second.kernel, "kernel_bias": self.second.bias}
        return {
            **{name: as_numpy(table.embeddings) * gmf for name, table in factors.items()},
            **{name: as_numpy(table.embeddings) @ upper for name, table in halves.items()},
            **{name: as_numpy(values) for name, values in layers.items()},
            "item_hidden": as_numpy(self.item_mlp.embeddings) @ lower + as_numpy(self.item_hidden.bias),
            "out": as_numpy(self.out.kernel)[:, 0],
            "bias": np.where(known, as_numpy(self.bias.embeddings)[:, 0], UNKNOWN_BIAS),
        }


class Steps:
    """The log as training steps; called with the number of an epoch it gives that epoch's batches."""

    def __init__(self, settings: NeuMF, log: InteractionLog, seed: int) -> None:
        self._log, self._batch, self._seed = log, settings.batch, seed
        found = prefixes(log, settings.longest)
        self._history, self._amounts = np.maximum(found.items, 0), decayed_shares(found.present, settings.half_life)
        self._candidates = InBatch(log.item_counts, settings.batch, settings.uniform)

    def __call__(self, epoch: int) -> Iterator[tuple[dict[str, Any], I64]]:
        """The batches of an epoch."""
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(self._log.size)
        for start in range(0, len(order), self._batch):
            events = order[start : start + self._batch]
            yield self.inputs(events, rng), np.arange(len(events))

    def inputs(self, events: I64, rng: np.random.Generator) -> dict[str, Any]:
        """What the network is given for these events."""
        candidates, offsets = self._candidates.of(self._log.items[events], rng)
        return {
            "users": self._log.users[events], "history": self._history[events], "amounts": self._amounts[events],
            "candidates": candidates, "offsets": offsets,
        }  # fmt: skip
