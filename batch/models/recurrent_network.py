"""The recurrent network in Keras: what is trained, and its weights as a `Recurrent` scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from batch.datasets.interactions import F32
from stream_workers.models.deep.recurrent import Ends, Recurrent
from stream_workers.models.deep.recurrent_cells import Cell, Gru, MinGru
from stream_workers.models.deep.vectors import without_strangers

_NEVER: Final = -1e9


class Shape(NamedTuple):
    """How large the network is.

    Attributes:
        size: numbers per item vector, d. hidden: numbers of the state, H.
        dropout: share of the numbers of inputs and states set to 0 in training. forget: share of the events of which the cell
            learns nothing, so that no single event carries the prediction.
        tied: the cell reads the same item vectors that are scored with.
    """

    size: int
    hidden: int
    dropout: float
    forget: float
    tied: bool


class CellKind(NamedTuple):
    """A recurrence in both forms.

    Attributes:
        layer: the Keras layer of H numbers, float[B, L, D] to float[B, L, H]. cell: its weights as a cell for NumPy.
    """

    layer: Callable[[int], Any]
    cell: Callable[[Any], Cell]


class MinGruLayer(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """minGRU over whole sequences by one `scan`; formula at `MinGru`."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gates = keras.layers.Dense(2 * hidden)

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        self.gates.build(shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """All states: float[B, L, D] to float[B, L, H]."""
        gate, new = ops.split(self.gates(inputs), 2, axis=-1)
        share = ops.sigmoid(gate)
        return scan(1 - share, share * new)


def scan(factors: Any, terms: Any) -> Any:
    """h_t = factors_t h_(t-1) + terms_t with h_0 = 0, for all t: float[B, L, H] each, in log2 L rounds.

    Round by round each place takes in what the place 1, 2, 4, ... before it has gathered (Hillis and Steele, 1986). Unlike
    `ops.associative_scan` it keeps the shape that layers behind it need to know.
    """
    reach, length = 1, terms.shape[1]
    while reach < length:
        before = ((0, 0), (reach, 0), (0, 0))
        terms = terms + factors * ops.pad(terms[:, :-reach], before)
        factors = factors * ops.pad(factors[:, :-reach], before)  # what lies before the first place is 0 anyway
        reach *= 2
    return terms


def _gru_cell(layer: Any) -> Cell:
    return Gru(*(_numbers(weight) for weight in (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)))


def _min_gru_cell(layer: Any) -> Cell:
    return MinGru(_numbers(layer.gates.kernel), _numbers(layer.gates.bias))


GRU: Final = CellKind(lambda hidden: keras.layers.GRU(hidden, return_sequences=True, reset_after=True), _gru_cell)
MIN_GRU: Final = CellKind(MinGruLayer, _min_gru_cell)


class NextItem(keras.Model):  # type: ignore[misc]
    """Logits of the item after each place of a sequence.

    Inputs, a dictionary: `items` int[B, L] and `gaps` float[B, L] (`gap_input`), any valid item behind the end. With `candidates`
    int[K], `log_counts` float[K] and `targets` int[B, L] the logits are those of the target, then of the K candidates less the
    logarithm of how often each is expected among them: float[B, L, 1 + K]. Without: of all items, float[B, L, P].

    An item's vector is its own plus that of its labels: own[i] + labels[i] W, so that items which few have taken learn from others.

    Args:
        log_shares: float32[P], logarithm of each item's share of the interactions, where the item biases begin.
        labels: float32[P, F], see `item_labels`; F may be 0.
    """

    def __init__(self, shape: Shape, kind: CellKind, log_shares: F32, labels: F32) -> None:
        super().__init__()
        self.shape, self.kind = shape, kind
        self.labels = ops.convert_to_tensor(labels)
        self.scored = self._table("scored", labels.shape)
        self.read = self.scored if shape.tied else self._table("read", labels.shape)
        self.bias = self.add_weight(shape=(len(labels),), initializer="zeros", name="bias")
        self.bias.assign(log_shares)
        self.gap = self.add_weight(shape=(shape.size,), initializer="zeros", name="gap")
        self.forget = keras.layers.Dropout(shape.forget, noise_shape=(None, None, 1))
        self.dropout = keras.layers.Dropout(shape.dropout)
        self.recurrence = kind.layer(shape.hidden)
        self.project = keras.layers.Dense(shape.size)

    def _table(self, name: str, labels: tuple[int, int]) -> tuple[Any, Any]:
        """Weights: the items' own vectors and those of the labels."""
        items, count, width = *labels, self.shape.size
        spread = keras.initializers.RandomNormal(stddev=width**-0.5)
        own = self.add_weight(shape=(items, width), initializer=spread, name=f"{name}_own")
        return own, self.add_weight(shape=(count, width), initializer="zeros", name=f"{name}_labels")

    def _rows(self, table: tuple[Any, Any], items: Any) -> Any:
        """Vectors of these items."""
        return ops.take(table[0], items, axis=0) + ops.matmul(ops.take(self.labels, items, axis=0), table[1])

    def _all(self, table: tuple[Any, Any]) -> Any:
        """Vectors of all items: float[P, d]."""
        return table[0] + ops.matmul(self.labels, table[1])

    def build(self, shape: Any) -> None:
        """Make the weights of the layers."""
        self.recurrence.build((None, None, self.shape.size))
        self.project.build((None, None, self.shape.hidden))
        self.built = True

    def states(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        """float[B, L, H]."""
        given = self._rows(self.read, inputs["items"])
        given = given + ops.expand_dims(ops.cast(inputs["gaps"], given.dtype), -1) * self.gap
        return self.recurrence(self.forget(self.dropout(given, training=training), training=training))

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        """The logits."""
        users = self.project(self.dropout(self.states(inputs, training), training=training))
        if "candidates" in inputs:
            return self._sampled(users, inputs["targets"], inputs["candidates"], inputs["log_counts"])
        return ops.matmul(users, ops.transpose(self._all(self.scored))) + self.bias

    def _sampled(self, users: Any, targets: Any, candidates: Any, log_counts: Any) -> Any:
        wanted = ops.sum(users * self._rows(self.scored, targets), axis=-1) + ops.take(self.bias, targets)
        others = ops.matmul(users, ops.transpose(self._rows(self.scored, candidates)))
        others = others + (ops.take(self.bias, candidates) - log_counts)
        others = ops.where(ops.expand_dims(targets, -1) == candidates, _NEVER, others)  # the target is there already
        return ops.concatenate([ops.expand_dims(wanted, -1), others], axis=-1)

    def scorer(self, known: NDArray[np.bool_]) -> Recurrent:
        """The network as it is now; items that are not `known` (bool[P]) have learnt nothing and come last."""
        vectors, bias = without_strangers(_numbers(self._all(self.scored)), _numbers(self.bias), known)
        inputs = vectors if self.shape.tied else np.where(known[:, None], _numbers(self._all(self.read)), np.float32(0))
        ends = Ends(inputs, _numbers(self.gap), _numbers(self.project.kernel), _numbers(self.project.bias))
        return Recurrent(vectors, bias, self.kind.cell(self.recurrence), ends, self.shape.tied)


def _numbers(variable: Any) -> F32:
    return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(variable)), np.float32)
