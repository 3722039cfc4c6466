"""The two towers as Keras layers, and what the served model takes from them."""

from __future__ import annotations

from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from batch.models.content import Content
from batch.models.item_tower import ItemTower
from batch.models.keras_model import as_numpy
from stream_workers.models.deep.towers import AGE_BUCKETS

_HOUR_WIDTH: Final = 8
_LEAST_LENGTH: Final = 1e-6
_ABSENT: Final = -1e9


def unit(vectors: Any) -> Any:
    """The vectors (last axis) with length 1; what is all but 0 stays short."""
    length = keras.ops.sqrt(keras.ops.sum(keras.ops.square(vectors), axis=-1, keepdims=True) + _LEAST_LENGTH**2)
    return vectors / length


class UserTower(keras.layers.Layer):  # type: ignore[misc]
    """Vectors of the newest items [B, L, d], whether there is one [B, L], log2(1 + hours since) [B, L], hour [B] -> [B, d].

    The formula stands at `TwoTowerScorer`, which serves it.
    """

    def __init__(self, longest: int, width: int) -> None:
        super().__init__(name="user_tower")
        self.query = self.add_weight(shape=(width,), initializer="zeros", name="query")
        self.places = self.add_weight(shape=(longest,), initializer=_recent_first(longest), name="places")
        self.slope = self.add_weight(shape=(1,), initializer="zeros", name="slope")
        self.hours = keras.layers.Embedding(24, _HOUR_WIDTH, name="hours")
        self.hidden = keras.layers.Dense(2 * width, activation="relu", name="hidden")
        self.out = keras.layers.Dense(width, name="out")

    def call(self, vectors: Any, present: Any, gaps: Any, hours: Any) -> Any:
        """See the class."""
        vectors = vectors * present[..., None]
        logits = keras.ops.matmul(vectors, self.query[:, None])[..., 0] + self.places + self.slope * gaps
        weights = keras.ops.softmax(keras.ops.where(present > 0, logits, _ABSENT), axis=-1) * present
        pooled = keras.ops.sum(weights[..., None] * vectors, axis=1)
        inputs = keras.ops.concatenate([pooled, vectors[:, 0], self.hours(hours)], axis=-1)
        return unit(pooled + self.out(self.hidden(inputs)))


def _recent_first(longest: int) -> Any:
    """Places begin with a half-life of five items."""
    return keras.initializers.Constant(np.log(0.5) / 5 * np.arange(longest, dtype=np.float32))


class TwoTowerNetwork(keras.Model):  # type: ignore[misc]
    """Inputs of `TwoTower` -> the corrected logits of all candidates: [B, C]."""

    def __init__(
        self, content: Content, known: NDArray[np.bool_], *, width: int, longest: int, temperature: float, dropout: float, seed: int
    ) -> None:
        super().__init__()
        self.items = ItemTower(content, known, width=width, dropout=dropout, seed=seed)
        self.bias = keras.layers.Dense(1, name="bias")
        self.users = UserTower(longest, width)
        self.ages = self.add_weight(shape=(AGE_BUCKETS, width + 1), initializer="zeros", name="ages")
        self.temperature = temperature

    def vectors(self, rows: Any, training: bool = False, columns: Any = None) -> tuple[Any, Any]:
        """The unit vectors and biases of these items: [n, d] and [n]."""
        raw = self.items(rows, training=training, columns=columns)
        return unit(raw), self.bias(raw)[:, 0]

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """See the class."""
        vectors, biases = self.vectors(inputs["rows"], training=training)
        history = keras.ops.take(vectors, inputs["history"], axis=0)
        users = self.users(history, inputs["present"], inputs["gaps"], inputs["hours"])
        wanted, wanted_bias = (keras.ops.take(part, inputs["candidates"], axis=0) for part in (vectors, biases))
        logits = keras.ops.matmul(users, keras.ops.transpose(wanted)) / self.temperature + wanted_bias
        return logits + self._age_effects(users, inputs["ages"]) * inputs["dated"][:, None] + inputs["offsets"]

    def _age_effects(self, users: Any, buckets: Any) -> Any:
        """What the age of each candidate is worth to each user: [B, C]."""
        by_age = keras.ops.matmul(users, keras.ops.transpose(self.ages[:, :-1])) + self.ages[:, -1]
        return keras.ops.einsum("bk,bck->bc", by_age, keras.ops.one_hot(buckets, AGE_BUCKETS))

    def arrays(self, first_seen: NDArray[np.int64], columns: Any = None) -> dict[str, NDArray[Any]]:
        """What `TwoTowerScorer` needs, all items' vectors made once; `columns` as in `ItemTower`."""
        vectors, biases = self.vectors(np.arange(len(first_seen)), columns=columns)
        layers = {
            "hours": self.users.hours.weights[0], "kernel_1": self.users.hidden.kernel, "bias_1": self.users.hidden.bias,
            "kernel_2": self.users.out.kernel, "bias_2": self.users.out.bias,
            "query": self.users.query, "places": self.users.places, "slope": self.users.slope, "ages": self.ages,
        }  # fmt: skip
        learnt: dict[str, NDArray[Any]] = {name: as_numpy(value) for name, value in layers.items()}
        constants: dict[str, NDArray[Any]] = {"temperature": np.array([self.temperature], np.float32), "first_seen": first_seen}
        return {"vectors": as_numpy(vectors), "bias": as_numpy(biases), **learnt, **constants}
