"""Autoencoders of what people take: denoising (MultDAE) and variational (MultVAE), with the multinomial likelihood."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import keras
import numpy as np

from batch.datasets.interactions import F32, InteractionLog, enough_to_learn
from batch.models.interface import Entries, OneOf, Space, Span, Watch
from batch.models.keras_model import KerasModel, as_numpy
from batch.models.training import begin
from batch.models.user_rows import UserRows
from batch.models.warm_start import Speaks
from stream_workers.models.deep.autoencoder import AutoencoderScorer, Layer, input_amounts
from stream_workers.models.deep.vectors import UNKNOWN_BIAS


def multinomial(targets: Any, logits: Any) -> Any:
    """- sum_i x_i log softmax(logits)_i of each row: [B]."""
    return -keras.ops.sum(targets * keras.ops.log_softmax(logits, axis=-1), axis=-1)


def annealed(step: Any, steps: int, most: float) -> Any:
    """Weight of the KL term at a training step: it grows in a straight line from 0 to `most`, reached after `steps`.

    >>> [float(annealed(step, 10, 0.2)) for step in (0.0, 5.0, 20.0)]
    [0.0, 0.1, 0.2]
    """
    return most * min(1.0, step / steps) if isinstance(step, float) else most * keras.ops.minimum(1.0, step / steps)


class Sampling(keras.layers.Layer):  # type: ignore[misc]
    """Mean and log variance [B, z] -> in training a draw of that Gaussian, else the mean; adds the annealed KL to the loss.

    KL(N(m, v) || N(0, 1)) = 1/2 sum (v + m^2 - 1 - log v). `step` counts the training calls.
    """

    def __init__(self, steps: int, most: float, seed: int) -> None:
        super().__init__(name="sampling")
        self._steps, self._most = steps, most
        self._dice = keras.random.SeedGenerator(seed)
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step")

    def call(self, mean: Any, log_variance: Any, training: bool = False) -> Any:
        """See the class."""
        if not training:
            return mean
        kl = 0.5 * keras.ops.sum(keras.ops.exp(log_variance) + keras.ops.square(mean) - 1 - log_variance, axis=-1)
        self.add_loss(annealed(self.step, self._steps, self._most) * keras.ops.mean(kl))
        self.step.assign(self.step + 1)
        noise = keras.random.normal(keras.ops.shape(mean), seed=self._dice)
        return mean + keras.ops.exp(0.5 * log_variance) * noise


@dataclass(frozen=True, kw_only=True)
class _Autoencoder(KerasModel):
    """What both have in common: rows of users in, logits of the K items of the log out.

    An example is a user's history up to a random moment, and the `ahead` items that follow it (all distinct ones of the history
    itself with `ahead` = 0, as in the paper). A user of n interactions gives 1 + n // `every` examples an epoch.
    """

    width: int = 128
    half_life: float = 5.0
    dropout: float = 0.5
    ahead: int = 10
    every: int = 5
    batch: int = 256
    rate: float = 0.005
    epochs: int = 15
    patience: int = 3

    space: ClassVar[Space] = {
        "width": OneOf((64, 128, 256)), "half_life": Span(2.0, 20.0, log=True), "dropout": Span(0.2, 0.7),
        "ahead": OneOf((0, 5, 10, 20)), "rate": Span(0.001, 0.02, log=True),
    }  # fmt: skip

    @abstractmethod
    def network(self, items: int, seed: int) -> Any:
        """The Keras model: float32[B, K] -> logits float32[B, K]."""

    @abstractmethod
    def hidden_layers(self, network: Any) -> list[Layer]:
        """What the network has learnt, up to its last hidden layer."""

    def fit(self, train: InteractionLog, later: InteractionLog, *, seed: int, watch: Watch = Watch()) -> AutoencoderScorer:  # noqa: B008
        """See `BatchModel`."""
        rows = UserRows.of(enough_to_learn(train))
        begin(seed)
        network = self.network(len(rows.known), seed)
        network.compile(keras.optimizers.Adam(self.rate), multinomial)
        make = partial(self.scorer, network, rows, train.catalogue.size)
        speaks = columns_of(network, rows, train)
        return self.trained(network, partial(self._examples, rows, seed), make, (train, later), seed, watch, speaks)

    def scorer(self, network: Any, rows: UserRows, size: int) -> AutoencoderScorer:
        """What the network has learnt, ready to serve."""
        (kernel, first_bias, activation), *others = self.hidden_layers(network)
        out = network.get_layer("out")
        vectors = spread(as_numpy(out.kernel).T, rows.known, size)
        bias = spread(as_numpy(out.bias), rows.known, size, UNKNOWN_BIAS)
        first = (spread(kernel, rows.known, size), first_bias, activation)
        return AutoencoderScorer([first, *others], vectors, bias, self.half_life)

    def _examples(self, rows: UserRows, seed: int, epoch: int) -> Iterator[tuple[F32, F32]]:
        """(inputs float32[B, K], targets float32[B, K]) in a random order."""
        rng = np.random.default_rng([seed, epoch])
        lengths = np.diff(rows.starts)
        users = rng.permutation(np.repeat(np.arange(rows.users), 1 + lengths // self.every))
        for start in range(0, len(users), self.batch):
            some = users[start : start + self.batch]
            inputs, targets = np.zeros((2, len(some), len(rows.known)), np.float32)
            for row, user in enumerate(some):
                self._fill(inputs[row], targets[row], rows.items[rows.span(user)], rng)
            yield inputs, targets

    def _fill(self, inputs: F32, targets: F32, items: Any, rng: np.random.Generator) -> None:
        cut = int(rng.integers(1, len(items))) if self.ahead and len(items) > 1 else len(items)
        inputs[items[:cut]] = input_amounts(items[:cut], self.half_life)
        following = items[cut : cut + self.ahead] if cut < len(items) else items
        targets[following] = 1 / len(following)


@dataclass(frozen=True, kw_only=True)
class MultDAE(_Autoencoder):
    """Denoising autoencoder: K -> dropout -> tanh, `width` -> K.

    Loss: multinomial, - sum_i x_i log softmax(f(dropout(x)))_i. Liang et al., "Variational Autoencoders for Collaborative
    Filtering", WWW 2018; here it is asked for what follows a history rather than for the history, see `_Autoencoder`.

    Attributes:
        width: units of the hidden layer. half_life: of an item's amount in the input, in items; 0: all the same.
        dropout: share of the input left out. ahead, every: see `_Autoencoder`.
    """

    name: ClassVar[str] = "mult_dae"

    def network(self, items: int, seed: int) -> Any:
        """See `_Autoencoder`."""
        inputs = keras.Input((items,))
        noisy = keras.layers.Dropout(self.dropout, seed=seed)(inputs)
        hidden = keras.layers.Dense(self.width, activation="tanh", name="hidden")(noisy)
        return keras.Model(inputs, keras.layers.Dense(items, name="out")(hidden))

    def hidden_layers(self, network: Any) -> list[Layer]:
        """See `_Autoencoder`."""
        return [layer_of(network, "hidden", "tanh")]


@dataclass(frozen=True, kw_only=True)
class MultVAE(_Autoencoder):
    """Variational autoencoder: K -> dropout -> tanh, `width` -> mean and log variance of z -> tanh, `width` -> K.

    Loss: multinomial + beta * KL(q(z|x) || N(0, 1)), beta growing from 0 to `kl` over `anneal` steps (Liang et al., WWW 2018).
    Where it serves z is its mean.

    Attributes:
        latent: size of z. kl: the KL term's last weight. anneal: steps until then. The others: see `MultDAE`.
    """

    latent: int = 64
    kl: float = 0.1
    anneal: int = 400

    name: ClassVar[str] = "mult_vae"
    space: ClassVar[Space] = {**_Autoencoder.space, "latent": OneOf((32, 64, 128)), "kl": Span(0.01, 0.5, log=True)}

    def network(self, items: int, seed: int) -> Any:
        """See `_Autoencoder`."""
        inputs = keras.Input((items,))
        noisy = keras.layers.Dropout(self.dropout, seed=seed)(inputs)
        hidden = keras.layers.Dense(self.width, activation="tanh", name="hidden")(noisy)
        mean = keras.layers.Dense(self.latent, name="mean")(hidden)
        log_variance = keras.layers.Dense(self.latent, kernel_initializer="zeros", name="log_variance")(hidden)
        drawn = Sampling(self.anneal, self.kl, seed)(mean, log_variance)
        decoded = keras.layers.Dense(self.width, activation="tanh", name="decoder")(drawn)
        return keras.Model(inputs, keras.layers.Dense(items, name="out")(decoded))

    def hidden_layers(self, network: Any) -> list[Layer]:
        """See `_Autoencoder`."""
        return [layer_of(network, *layer) for layer in (("hidden", "tanh"), ("mean", "linear"), ("decoder", "tanh"))]


def layer_of(network: Any, name: str, activation: str) -> Layer:
    """A Dense layer as the scorer takes it."""
    layer = network.get_layer(name)
    return as_numpy(layer.kernel), as_numpy(layer.bias), activation


def columns_of(network: Any, rows: UserRows, log: InteractionLog) -> Speaks:
    """Which weights speak of items; see `warm_start`."""
    ids = tuple(log.catalogue.ids[row] for row in rows.known.tolist())
    hidden, out = network.get_layer("hidden"), network.get_layer("out")
    return [(hidden.kernel, Entries(0, ids)), (out.kernel, Entries(1, ids)), (out.bias, Entries(0, ids))]


def spread(values: F32, rows: Any, size: int, nothing: Any = 0) -> F32:
    """The values at these rows of `size`, `nothing` at the others: [K, ...] -> [P, ...]."""
    found = np.full((size, *values.shape[1:]), nothing, np.float32)
    found[rows] = values
    return found
