"""AutoRec: an autoencoder of ratings, for logs in which people say how much they liked something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import keras
import numpy as np

from batch.datasets.interactions import F32, InteractionLog, enough_to_learn
from batch.models.autoencoders import layer_of, spread
from batch.models.interface import Watch, queries_of
from batch.models.keras_model import KerasModel, as_numpy
from batch.models.training import begin, train_keras
from batch.models.user_rows import UserRows
from schemas.errors import InvalidInput
from stream_workers.models.deep.autoencoder import AutoRecScorer
from stream_workers.models.deep.vectors import UNKNOWN_BIAS

_CHUNK: Final = 256


def observed_error(targets: Any, predicted: Any) -> Any:
    """Mean squared error of each row over what was observed (not NaN): [B]."""
    unknown = keras.ops.isnan(targets)
    squares = keras.ops.square(keras.ops.where(unknown, 0.0, predicted - keras.ops.where(unknown, 0.0, targets)))
    return keras.ops.sum(squares, axis=-1) / keras.ops.maximum(keras.ops.sum(keras.ops.cast(~unknown, "float32"), axis=-1), 1.0)


@dataclass(frozen=True)
class AutoRec(KerasModel):
    """User-based rating autoencoder: centred ratings [K] -> dropout -> sigmoid, `width` -> expected centred ratings [K].

    Loss: sum over observed ratings of (r - mean of the item - output)^2, averaged per user, + `decay` (weight decay). Sedhain et
    al., "AutoRec: Autoencoders Meet Collaborative Filtering", WWW 2015; with dropout of the input as in denoising autoencoders,
    so that it learns to predict ratings that it does not see. The user-based form needs no training for a new user.
    Item means are drawn to the mean of all by `prior` ratings. Early stopping, and `Epoch.validation`, is by -RMSE on `later`.
    """

    width: int = 128
    dropout: float = 0.5
    prior: float = 5.0
    decay: float = 0.1
    batch: int = 64
    rate: float = 0.0005
    epochs: int = 60
    patience: int = 3

    name: ClassVar[str] = "autorec"

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> AutoRecScorer:  # noqa: B008
        """See `BatchModel`. Events without a rating are left out.

        Raises:
            InvalidInput: no ratings, or none of two items.
        """
        log = rated(enough_to_learn(train))
        if not log.size:
            raise InvalidInput(f"{self.name}: none of {train.size} events has a rating; it learns from ratings alone")
        begin(seed)
        rows, means = UserRows.of(log), item_means(log, self.prior)
        network = self.network(len(rows.known), seed)
        unseen = rated(later)
        judged = (lambda: -rating_error(self.scorer(network, rows, means, log), log, unseen)) if unseen.size else None
        train_keras(
            network, partial(self.examples, rows, means, seed), judged, epochs=self.epochs,
            patience=self.patience, watch=watch, identity=self.identity(train, seed),
        )  # fmt: skip
        return self.scorer(network, rows, means, log)

    def network(self, items: int, seed: int) -> Any:
        """Untrained, compiled: float32[B, K] -> float32[B, K]."""
        inputs = keras.Input((items,))
        noisy = keras.layers.Dropout(self.dropout, seed=seed)(inputs)
        hidden = keras.layers.Dense(self.width, activation="sigmoid", name="hidden")(noisy)
        network = keras.Model(inputs, keras.layers.Dense(items, name="out")(hidden))
        network.compile(keras.optimizers.AdamW(self.rate, weight_decay=self.decay), observed_error)
        return network

    def examples(self, rows: UserRows, means: F32, seed: int, epoch: int) -> Iterator[tuple[F32, F32]]:
        """(centred ratings with 0 for none, the same with NaN for none): float32[B, K] each."""
        users = np.random.default_rng([seed, epoch]).permutation(rows.users)
        for start in range(0, len(users), self.batch):
            some = users[start : start + self.batch]
            targets = np.full((len(some), len(rows.known)), np.nan, np.float32)
            for row, user in enumerate(some):
                items = rows.items[rows.span(user)]
                targets[row, items] = rows.ratings[rows.span(user)] - means[rows.known[items]]
            yield np.nan_to_num(targets), targets

    def scorer(self, network: Any, rows: UserRows, means: F32, log: InteractionLog) -> AutoRecScorer:
        """What the network has learnt, ready to serve."""
        kernel, bias, activation = layer_of(network, "hidden", "sigmoid")
        out, size = network.get_layer("out"), log.catalogue.size
        vectors = spread(as_numpy(out.kernel).T, rows.known, size)
        levels = as_numpy(out.bias) + means[rows.known]
        bounds = (float(log.ratings.min()), float(log.ratings.max()))
        hidden = (spread(kernel, rows.known, size), bias, activation)
        return AutoRecScorer([hidden], vectors, spread(levels, rows.known, size, UNKNOWN_BIAS), means, bounds)


def rated(log: InteractionLog) -> InteractionLog:
    """The events that have a rating."""
    return log.chosen(~np.isnan(log.ratings))


def item_means(log: InteractionLog, prior: float) -> F32:
    """Mean rating of each item, as if it had `prior` further ratings at the mean of all: float32[P]."""
    size = log.catalogue.size
    total, count = np.bincount(log.items, log.ratings, size), np.bincount(log.items, minlength=size)
    means: F32 = ((total + prior * log.ratings.mean()) / (count + prior)).astype(np.float32)
    return means


def rating_error(scorer: AutoRecScorer, known: InteractionLog, later: InteractionLog) -> float:
    """RMSE of the predicted ratings of `later` by what `known` says of their users; an item that nobody rated gets the mean of all.

    sqrt(mean((r - predicted)^2)), in the units of the ratings.

    Raises:
        InvalidInput: `later` has no ratings.
    """
    if not rated(later).size:
        raise InvalidInput("there are no ratings to compare with")
    events = rated(later)
    users, row = np.unique(events.users, return_inverse=True)
    squares = 0.0
    for start in range(0, len(users), _CHUNK):
        predicted = scorer.ratings(queries_of(known, users[start : start + _CHUNK].tolist(), 0, longest=known.size))
        here = (row >= start) & (row < start + _CHUNK)
        squares += float(np.sum((predicted[row[here] - start, events.items[here]] - events.ratings[here]) ** 2))
    return float(np.sqrt(squares / events.size))
