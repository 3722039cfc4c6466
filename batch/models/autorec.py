"""AutoRec: an autoencoder of ratings, for logs in which people say how much they liked something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import keras
import numpy as np

from batch.datasets.interactions import F32, InteractionLog, enough_to_learn
from batch.models.autoencoders import columns_of, layer_of, spread
from batch.models.interface import OneOf, Space, Span, Watch, queries_of
from batch.models.keras_model import KerasModel, as_numpy
from batch.models.training import begin
from batch.models.user_rows import UserRows
from schemas.errors import InvalidInput
from stream_workers.models.deep.autoencoder import AutoRecScorer
from stream_workers.models.deep.vectors import UNKNOWN_BIAS

_CHUNK: Final = 256
_ALMOST_NONE: Final = 1e-6  # of ratings at the mean of all: enough for an item that has none


def observed_error(targets: Any, predicted: Any) -> Any:
    """Mean squared error of each row over what was observed (not NaN): [B]."""
    unknown = keras.ops.isnan(targets)
    squares = keras.ops.square(keras.ops.where(unknown, 0.0, predicted - keras.ops.where(unknown, 0.0, targets)))
    return keras.ops.sum(squares, axis=-1) / keras.ops.maximum(keras.ops.sum(keras.ops.cast(~unknown, "float32"), axis=-1), 1.0)


@dataclass(frozen=True, kw_only=True)
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
    space: ClassVar[Space] = {
        "width": OneOf((32, 128, 256)), "dropout": Span(0.2, 0.8), "prior": Span(1.0, 20.0, log=True),
        "decay": Span(0.01, 1.0, log=True), "rate": Span(0.0001, 0.003, log=True),
    }  # fmt: skip

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
        make = partial(self.scorer, network, rows, means, log)
        steps, speaks = partial(self.examples, rows, means, seed), columns_of(network, rows, log)
        quality: Callable[[AutoRecScorer], float] | None = partial(_minus_error, log, unseen) if unseen.size else None
        return self.trained(network, steps, make, (log, unseen), seed, watch, speaks, quality)

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


def _minus_error(known: InteractionLog, later: InteractionLog, scorer: AutoRecScorer) -> float:
    return -rating_error(scorer, known, later)


def rated(log: InteractionLog) -> InteractionLog:
    """The events that have a rating."""
    return log.chosen(~np.isnan(log.ratings))


def item_means(log: InteractionLog, prior: float) -> F32:
    """Mean rating of each item, as if it had `prior` further ratings at the mean of all: float32[P]."""
    size = log.catalogue.size
    total, count = np.bincount(log.items, log.ratings, size), np.bincount(log.items, minlength=size)
    means: F32 = ((total + prior * log.ratings.mean()) / (count + prior)).astype(np.float32)
    return means


def rating_errors(scorer: AutoRecScorer, train: InteractionLog, known: InteractionLog, later: InteractionLog) -> dict[str, float]:
    """RMSE of what follows `known` by the model, by the item's mean in `train` and by the mean of all; nothing without ratings."""
    learnt, events = rated(train), rated(later)
    if not events.size:
        return {}
    guesses = {"mean of the item": item_means(learnt, _ALMOST_NONE)[events.items], "mean of all": learnt.ratings.mean()}
    errors = {name: float(np.sqrt(np.mean((guess - events.ratings) ** 2))) for name, guess in guesses.items()}
    return {"model": rating_error(scorer, known, later), **errors}


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
