"""The ranking network: one network, trained pointwise, pairwise or listwise; its NumPy twin serves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from batch.models.interface import Watch
from batch.models.ranker_losses import LOSSES
from batch.models.slate_model import F32, F64, FittedSlates, Judge, Lists, SlateModel
from batch.models.training import begin, train_keras
from schemas.errors import InvalidInput
from stream_workers.models.deep.ranker import NORM_EPSILON, FeatureScale, SlateRanker

_AT_ONCE = 512
_ATTENTION = tuple(f"{part}_{what}" for part in ("query", "key", "value", "together") for what in ("kernel", "bias"))


@dataclass(frozen=True)
class RankingNetwork(SlateModel):
    """The network of `SlateRanker` with one of `LOSSES`, learnt with Adam and a rate that falls to 0 over `epochs`.

    Attributes:
        loss: a name of `LOSSES`. width: of the hidden layers. heads: of attention, a divisor of `width`.
        dropout: share of hidden units left out. l2: on the kernels beside attention. batch: lists per step.
        epochs: at most. patience: epochs without an improvement after which it ends.
    """

    loss: str = "lambdarank"
    width: int = 32
    heads: int = 2
    dropout: float = 0.5
    l2: float = 1e-4
    learning_rate: float = 2e-3
    batch: int = 64
    epochs: int = 6
    patience: int = 2
    watch: Watch = Watch()  # noqa: RUF009 - never changed

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise InvalidInput(f"loss {self.loss!r}: expected one of {', '.join(LOSSES)}")

    @property
    def name(self) -> str:
        """The loss, for one network stands in tables once per loss."""
        return self.loss

    def fit(self, lists: Lists, later: tuple[Lists, Judge], seed: int) -> FittedSlates:
        """Train until the later lists are ordered no better, and keep the best epoch."""
        asked, judge = later
        return self._trained(lists, seed, self.epochs, lambda model: judge(_scores(model, asked)))

    def refit(self, lists: Lists, length: int, seed: int) -> FittedSlates:
        """Train for `length` epochs."""
        return self._trained(lists, seed, length, None)

    def train(self, lists: Lists, length: int, seed: int) -> Any:
        """The Keras model itself after `length` epochs."""
        return self._run(lists.instructive(), seed, length, None)[0]

    def _trained(self, lists: Lists, seed: int, epochs: int, judge: Any) -> FittedSlates:
        model, length = self._run(lists.instructive(), seed, epochs, judge)
        return FittedSlates(lambda asked: _scores(model, asked), length)

    def _run(self, lists: Lists, seed: int, epochs: int, judge: Any) -> tuple[Any, int]:
        begin(seed)
        model = self.network(lists.inputs.shape[2], _width_of(lists))
        steps = self.epochs * -(-len(lists.labels) // self.batch)  # of a whole training: a shorter one ends at a higher rate
        rate = keras.optimizers.schedules.CosineDecay(self.learning_rate, max(steps, 1))
        model.compile(keras.optimizers.Adam(rate), loss=LOSSES[self.loss](seed))
        judged = None if judge is None else lambda: judge(model)
        done = train_keras(
            model,
            lambda epoch: self._batches(lists, seed, epoch),
            judged,
            epochs=epochs,
            patience=self.patience,
            watch=self.watch,
            identity=f"{self.loss} {self.width} {lists.labels.shape} {seed}",
        )
        return model, done.best + 1

    def _batches(self, lists: Lists, seed: int, epoch: int) -> Iterator[tuple[Any, Any]]:
        order = np.random.default_rng((seed, epoch)).permutation(len(lists.labels))
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            some = lists.part(rows)
            yield _asked(some), some.labels

    def network(self, inputs: int, places: int = 0) -> Any:
        """The untrained `keras.Model`: (float32[B, W, inputs], bool[B, W]) to scores [B, W].

        Args:
            places: with offsets and so many places it also takes float32[B, W] and int32[B, W]; each place has a bias of its own,
                which explains clicks while it learns and is left out where it serves (a shallow tower, Zhao et al., RecSys 2019).
        """
        given, shown = layers.Input((None, inputs)), layers.Input((None,), dtype="bool")
        penalty = keras.regularizers.L2(self.l2)
        hidden = layers.Dropout(self.dropout / 2)(given)
        hidden = layers.Dense(self.width, "relu", kernel_regularizer=penalty, name="inner")(hidden)
        hidden = layers.Dropout(self.dropout)(hidden)
        attention = layers.MultiHeadAttention(self.heads, self.width // self.heads, name="attention")
        seen = attention(hidden, hidden, attention_mask=ops.expand_dims(shown, 1))
        hidden = layers.LayerNormalization(epsilon=NORM_EPSILON, name="norm_1")(hidden + seen)
        wide = layers.Dropout(self.dropout)(layers.Dense(self.width, "relu", name="outer")(hidden))
        hidden = layers.LayerNormalization(epsilon=NORM_EPSILON, name="norm_2")(hidden + wide)
        scores = layers.Dense(1, kernel_regularizer=penalty, name="score")(hidden)
        direct = layers.Dense(1, use_bias=False, kernel_initializer="zeros", kernel_regularizer=penalty, name="direct")(given)
        if not places:
            return keras.Model((given, shown), ops.squeeze(scores + direct, -1))
        offset, place = layers.Input((None,)), layers.Input((None,), dtype="int32")
        bias = layers.Embedding(places, 1, embeddings_initializer="zeros", name="places")(place)
        return keras.Model((given, shown, offset, place), ops.squeeze(scores + direct + bias, -1) + offset)


def _width_of(lists: Lists) -> int:
    """How many places there are to explain; 0: none."""
    return 0 if lists.offsets is None or lists.places is None else lists.labels.shape[1]


def _asked(lists: Lists) -> tuple[Any, ...]:
    """The inputs of the network."""
    if lists.offsets is None or lists.places is None:
        return lists.inputs, lists.shown
    return lists.inputs, lists.shown, lists.offsets, np.minimum(lists.places, lists.labels.shape[1] - 1)


def place_bias(model: Any) -> F64:
    """What each place adds to a score, less the first: float64[places]."""
    (bias,) = _weights(model, "places")
    return np.asarray(bias[:, 0] - bias[0, 0], np.float64)


def _scores(model: Any, lists: Lists) -> F64:
    """float64[S, W] of a Keras model, a fixed number of lists at a time."""
    starts = range(0, len(lists.labels), _AT_ONCE)
    anywhere = lists if lists.places is None else lists._replace(places=np.zeros_like(lists.places))
    parts = [anywhere.part(np.arange(start, min(start + _AT_ONCE, len(lists.labels)))) for start in starts]
    scored = [np.asarray(ops.convert_to_numpy(model(_asked(part), training=False)), np.float64) for part in parts]
    return np.concatenate(scored) if scored else np.zeros(lists.labels.shape)


def to_serve(model: Any, scale: FeatureScale) -> SlateRanker:
    """The NumPy twin of a trained network whose inputs were made by `scale`: the same scores within 1e-4."""
    arrays: dict[str, F32] = scale._asdict()
    arrays |= dict(zip(_ATTENTION, _weights(model, "attention"), strict=True))
    for name in ("inner", "outer", "score"):
        arrays[f"{name}_kernel"], arrays[f"{name}_bias"] = _weights(model, name)
    for at in (1, 2):
        arrays[f"norm_{at}_gain"], arrays[f"norm_{at}_shift"] = _weights(model, f"norm_{at}")
    (arrays["direct_kernel"],) = _weights(model, "direct")
    return SlateRanker.load(arrays)


def _weights(model: Any, layer: str) -> list[F32]:
    return [np.asarray(weights, np.float32) for weights in model.get_layer(layer).get_weights()]
