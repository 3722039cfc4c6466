"""Wide & Deep: crossed features that remember, embeddings and a network that generalise; with cross layers DCN v2."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import keras
import keras_rs
import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import F32, InteractionLog, enough_to_learn
from batch.models.content import mean_of_known, numbered
from batch.models.interface import Entries, OneOf, Space, Span, Watch
from batch.models.keras_model import KerasModel, as_numpy
from batch.models.shuffled import usual_shuffles
from batch.models.training import begin
from batch.models.warm_start import NOTHING_LASTS, Speaks
from batch.models.wide_deep_features import Features
from stream_workers.models.deep.crosses import NO_CROSS
from stream_workers.models.deep.vectors import UNKNOWN_BIAS
from stream_workers.models.deep.wide_deep import WideDeepScorer

ARRAYS: Final = {
    "context": ("hours",), "categories": ("categories", "kinds"), "numbers": ("shares",), "age": ("first_seen",),
}  # fmt: skip
"""Groups of features that lie in the rows of the scorer's arrays."""
_MOST_CATEGORIES: Final = 4
_CATEGORY_VOCABULARY: Final = 1000


@dataclass(frozen=True, kw_only=True)
class WideDeep(KerasModel):
    """score = crosses . weights + deep([user; item; numbers]) + item bias; the features stand at `WideDeepScorer`.

    Loss: softmax over the item that was taken and `negatives` drawn ones, half uniformly and half by popularity, with log q taken
    off. Every feature is what was known before the event. Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS
    2016; with `cross_layers` > 0 the deep part first goes through x0 * (W x + b) + x (Wang et al., "DCN V2", WWW 2021).

    Attributes:
        width, kind_width: of item and category vectors. layers: units of the deep part. cross_layers: 0 for Wide & Deep alone.
        buckets: of the hashed crosses, a power of two; 0: no wide part. wide_decay: weight of the crosses' squares in the loss.
        half_life, longest: of the history, in items. half_lives: of the popularity, in hours.
        staleness: mean age in hours of the popularity that an event is learnt with; a model that serves has no newer one.
    """

    width: int = 24
    kind_width: int = 8
    layers: tuple[int, ...] = (32, 16)
    cross_layers: int = 0
    buckets: int = 1 << 17
    wide_decay: float = 0.003
    half_life: float = 4.0
    longest: int = 20
    half_lives: tuple[float, ...] = (6.0, 96.0, 1440.0)
    staleness: float = 72.0
    negatives: int = 16
    dropout: float = 0.2
    rate: float = 0.003
    epochs: int = 4
    patience: int = 1

    name: ClassVar[str] = "wide_deep"
    space: ClassVar[Space] = {
        "width": OneOf((16, 24, 48)), "wide_decay": Span(0.0003, 0.03, log=True), "half_life": Span(1.0, 10.0, log=True),
        "negatives": OneOf((8, 16, 32)), "dropout": Span(0.0, 0.5), "rate": Span(0.001, 0.01, log=True),
    }  # fmt: skip

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> WideDeepScorer:  # noqa: B008
        """See `BatchModel`."""
        categories, names = numbered(enough_to_learn(train).catalogue.categories, _MOST_CATEGORIES, _CATEGORY_VOCABULARY)
        features = self.features(train, categories, seed)
        begin(seed)
        network = self.network(features, categories, len(names), seed)
        make = partial(self.scorer, network, self.fixed_arrays(train, categories, features))
        made = self.trained(network, features, make, (train, later), seed, watch, network.speaks(train.catalogue.ids, names))
        watch.features(usual_shuffles(made, ARRAYS))
        return made

    def network(self, features: Features, categories: NDArray[np.int32], names: int, seed: int) -> WideDeepNetwork:
        """Untrained, compiled, with its weights."""
        network = WideDeepNetwork(self, categories, names, seed)
        network(features.inputs(np.arange(2), np.random.default_rng(seed)))  # makes the weights
        network.compile(keras.optimizers.Adam(self.rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return network

    def features(self, train: InteractionLog, categories: NDArray[np.int32], seed: int) -> Features:
        """The training steps of a log."""
        return Features(
            train, categories, half_life=self.half_life, longest=self.longest, half_lives=self.half_lives,
            buckets=max(self.buckets, 2), negatives=self.negatives, batch=self.batch, staleness=self.staleness, seed=seed,
        )  # fmt: skip

    def fixed_arrays(self, train: InteractionLog, categories: NDArray[np.int32], features: Features) -> dict[str, NDArray[Any]]:
        """What is not learnt: the popularity at the end of the log, and what the catalogue says."""
        items = np.arange(train.catalogue.size)
        shares = features.shares(items, np.full(len(items), train.timestamps[-1] + 1))
        strangers = np.where(train.item_counts > 0, np.float32(0), UNKNOWN_BIAS)
        return {"shares": shares, "first_seen": train.catalogue.first_seen, "categories": categories, "strangers": strangers}

    def scorer(self, network: WideDeepNetwork, fixed: dict[str, NDArray[Any]]) -> WideDeepScorer:
        """What the network has learnt, ready to serve."""
        learnt = network.arrays()
        learnt["bias"] = learnt["bias"] + fixed["strangers"]
        kept = {name: array for name, array in fixed.items() if name != "strangers"}
        settings = {"half_life": self.half_life, "longest": self.longest, "deep": len(self.layers), "cross": self.cross_layers}
        return WideDeepScorer({**kept, **learnt}, settings)


class WideDeepNetwork(keras.Model):  # type: ignore[misc]
    """The inputs of `Features` -> corrected logits of the candidates: [B, C]."""

    def __init__(self, settings: WideDeep, categories: NDArray[np.int32], names: int, seed: int) -> None:
        super().__init__()
        self._categories, self._has_wide = keras.ops.convert_to_tensor(categories), settings.buckets > 0
        self.items = keras.layers.Embedding(len(categories), settings.width, name="items")
        self.kinds = keras.layers.Embedding(names, settings.kind_width, name="kinds")
        self.hours = keras.layers.Embedding(24, 4, name="hours")
        self.bias = keras.layers.Embedding(len(categories), 1, embeddings_initializer="zeros", name="bias")
        self.wide = keras.layers.Embedding(max(settings.buckets, 2), 1, embeddings_initializer="zeros", name="wide")
        self.wide.build()
        self.wide_decay = settings.wide_decay
        self.cross = [keras_rs.layers.FeatureCross() for _ in range(settings.cross_layers)]
        self.deep = [keras.layers.Dense(units, activation="relu") for units in settings.layers]
        self.out = keras.layers.Dense(1, use_bias=False)
        self.drop = keras.layers.Dropout(settings.dropout, seed=seed)

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """See the class."""
        hidden = first = self._joined(inputs, training)
        for layer in self.cross:
            hidden = layer(first, hidden)
        for layer in self.deep:
            hidden = layer(hidden)
        logits = self.out(hidden)[..., 0] + self.bias(inputs["candidates"])[..., 0] + inputs["offsets"]
        return logits + self._wide_part(inputs["crosses"], training) if self._has_wide else logits

    def _wide_part(self, buckets: Any, training: bool) -> Any:
        weights = self.wide(buckets)[..., 0] * keras.ops.cast(buckets != NO_CROSS, "float32")
        if training:
            self.add_loss(self.wide_decay * keras.ops.mean(keras.ops.sum(keras.ops.square(weights), axis=(1, 2))))
        return keras.ops.sum(weights, axis=-1)

    def _joined(self, inputs: dict[str, Any], training: bool) -> Any:
        """x0: [B, C, n]."""
        pooled = self._pooled(self.items(inputs["history"]), inputs["amounts"])
        taste = self._pooled(self._kinds_of(inputs["history"]), inputs["amounts"])
        pooled = self.drop(pooled, training=training)
        items, kinds = self.items(inputs["candidates"]), self._kinds_of(inputs["candidates"])
        user = keras.ops.concatenate([pooled, taste, self.hours(inputs["hours"]), inputs["since"]], axis=-1)
        users = keras.ops.repeat(user[:, None], items.shape[1], axis=1)
        matches = [keras.ops.einsum("bd,bcd->bc", one, many)[..., None] for one, many in ((pooled, items), (taste, kinds))]
        return keras.ops.concatenate([users, items, kinds, inputs["numbers"], *matches], axis=-1)

    def _kinds_of(self, items: Any) -> Any:
        return mean_of_known(self.kinds, keras.ops.take(self._categories, items, axis=0))

    def _pooled(self, vectors: Any, amounts: Any) -> Any:
        return keras.ops.einsum("bl,bld->bd", amounts, vectors)

    def speaks(self, ids: tuple[str, ...], names: tuple[str, ...]) -> Speaks:
        """Which weights speak of items and categories; see `warm_start`. Crosses hash rows, which another log numbers anew."""
        items, kinds = Entries(0, ids), Entries(0, names)
        named = ((self.items, items), (self.bias, items), (self.kinds, kinds), (self.wide, NOTHING_LASTS))
        return [(layer.embeddings, entries) for layer, entries in named]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `WideDeepScorer` needs of what was learnt."""
        tables = {"vectors": self.items, "hours": self.hours}
        found: dict[str, F32] = {name: as_numpy(layer.embeddings) for name, layer in tables.items()}
        found["kinds"] = as_numpy(self._kinds_of(np.arange(len(found["vectors"]))))
        found["wide"], found["bias"] = (as_numpy(layer.embeddings)[:, 0] for layer in (self.wide, self.bias))
        found["wide"][NO_CROSS] = 0
        found["out"] = as_numpy(self.out.kernel)[:, 0]
        for at, layer in enumerate(self.deep):
            found[f"kernel_{at}"], found[f"bias_{at}"] = as_numpy(layer.kernel), as_numpy(layer.bias)
        for at, layer in enumerate(self.cross):
            found[f"cross_kernel_{at}"], found[f"cross_bias_{at}"] = as_numpy(layer.dense.kernel), as_numpy(layer.dense.bias)
        return found
