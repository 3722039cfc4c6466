"""Autoencoders where they serve: a user's items in, a score (or a rating) of every item out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import F32, Query
from stream_workers.models.deep.vectors import UNKNOWN_BIAS, VectorScorer, array_of

Layer = tuple[F32, F32, str]
"""Kernel [n, m], bias [m], and "tanh", "sigmoid" or "linear"."""

_LEAST_LENGTH: Final = np.float32(1e-6)


class AutoencoderScorer(VectorScorer):
    """logits = W_out f_k(... f_1(W_in x + b_1) ...) + b_out, with x the user's items as a unit vector.

    An item counts 0.5 ** (place / half-life) in x, place 0 for the newest; all count the same if half_life is 0.

    Args:
        inputs: float32[P, h], W_in; zeros for items that were not learnt. layers: from float32[P] to the last hidden layer; the
            first has `inputs` for its kernel. vectors, bias: float32[P, n] and float32[P], the output layer.
        half_life: in items.
    """

    kind: ClassVar[str] = "autoencoder"

    def __init__(self, layers: Sequence[Layer], vectors: F32, bias: F32, half_life: float) -> None:
        super().__init__(vectors, bias)
        self._layers, self._half_life = list(layers), half_life

    def user_vectors(self, queries: Sequence[Query]) -> F32:
        """The last hidden layer: float32[B, n]."""
        kernel, bias, activation = self._layers[0]
        hidden: F32 = np.zeros((len(queries), len(bias)), np.float32)
        for row, query in enumerate(queries):
            hidden[row] = self.amounts(query) @ kernel[query.items]
        hidden = activated(hidden + bias, activation)
        for kernel, bias, activation in self._layers[1:]:
            hidden = activated(hidden @ kernel + bias, activation)
        return hidden

    def amounts(self, query: Query) -> F32:
        """What each of the query's items is in x: float32[L]."""
        return input_amounts(query.items, self._half_life)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        kernels = {f"kernel_{at}": kernel for at, (kernel, _, _) in enumerate(self._layers)}
        biases = {f"bias_{at}": bias for at, (_, bias, _) in enumerate(self._layers)}
        return {**kernels, **biases, "vectors": self.item_vectors, "bias": self.item_bias}

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return {"activations": [activation for _, _, activation in self._layers], "half_life": self._half_life}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        layers = layers_of(arrays, settings["activations"])
        width = layers[-1][0].shape[1]
        vectors = array_of(arrays, "vectors", len(layers[0][0]), width)
        return cls(layers, vectors, array_of(arrays, "bias", len(vectors)), float(settings["half_life"]))


class AutoRecScorer(AutoencoderScorer):
    """Predicted ratings: clip(mean of the item + output, lowest, highest), with x_i = weight of the event - mean of item i.

    Args:
        means: float32[P], the mean rating of each item, drawn to that of all. bounds: lowest and highest rating.
    """

    kind: ClassVar[str] = "autorec"

    def __init__(self, layers: Sequence[Layer], vectors: F32, bias: F32, means: F32, bounds: tuple[float, float]) -> None:
        super().__init__(layers, vectors, bias, half_life=0.0)
        self._means, self._bounds = means, bounds

    def amounts(self, query: Query) -> F32:
        """Centred ratings; of several ratings of one item the newest."""
        return np.where(newest(query.items), query.weights - self._means[query.items], np.float32(0))

    def ratings(self, queries: Sequence[Query]) -> F32:
        """What each user is expected to give each item: float32[B, P], within the bounds; the mean of all where nobody rated it."""
        expected = np.where(self.item_bias == UNKNOWN_BIAS, self._means, self.score(queries))
        return np.asarray(np.clip(expected, *self._bounds), np.float32)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        return {**super().arrays(), "means": self._means}

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return {**super().settings(), "bounds": list(self._bounds)}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        layers = layers_of(arrays, settings["activations"])
        vectors = array_of(arrays, "vectors", len(layers[0][0]), layers[-1][0].shape[1])
        bias, means = (array_of(arrays, name, len(vectors)) for name in ("bias", "means"))
        low, high = settings["bounds"]
        return cls(layers, vectors, bias, means, (float(low), float(high)))


def input_amounts(items: NDArray[np.integer[Any]], half_life: float) -> F32:
    """A history (oldest first) as amounts of a vector of length 1; an item that stands twice counts where it is newest.

    >>> input_amounts(np.array([4, 7]), 1.0).round(2)
    array([0.45, 0.89], dtype=float32)
    """
    places = np.arange(len(items), dtype=np.float32)[::-1]
    amounts = newest(items) * np.float32(0.5) ** (places / half_life if half_life else np.zeros_like(places))
    return np.asarray(amounts / np.maximum(np.linalg.norm(amounts), _LEAST_LENGTH), np.float32)


def newest(items: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """True where the item does not come again later.

    >>> newest(np.array([4, 7, 4])).tolist()
    [False, True, True]
    """
    _, from_end = np.unique(items[::-1], return_index=True)
    found = np.zeros(len(items), np.bool_)
    found[len(items) - 1 - from_end] = True
    return found


def activated(values: F32, activation: str) -> F32:
    """The values through "tanh", "sigmoid" or "linear"."""
    if activation == "linear":
        return values
    return np.tanh(values) if activation == "tanh" else np.asarray(1 / (1 + np.exp(-values)), np.float32)


def layers_of(arrays: Mapping[str, NDArray[Any]], activations: Sequence[str]) -> list[Layer]:
    """The hidden layers in their order, each checked to fit the one before.

    Raises:
        InvalidInput: no layer, an unknown activation, or arrays that do not fit.
    """
    layers: list[Layer] = []
    for at, activation in enumerate(activations):
        if activation not in {"tanh", "sigmoid", "linear"}:
            raise InvalidInput(f"activation {activation!r}: expected tanh, sigmoid or linear")
        bias = array_of(arrays, f"bias_{at}", None)
        kernel = array_of(arrays, f"kernel_{at}", layers[-1][0].shape[1] if layers else None, len(bias))
        layers.append((kernel, bias, activation))
    if not layers:
        raise InvalidInput("an autoencoder without hidden layers")
    return layers
