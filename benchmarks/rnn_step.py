"""What it costs to move the session state of 1,000 different users one event on, in one batch, as a worker does it.

The networks as `batch train` makes them, untrained: 10,000 items, vectors of 64, states of 64 (GRU) and 128 (linear recurrence)
numbers. Beside it the GRU cell of Keras in a compiled TensorFlow function on the same batch, as a worker would do it that carries
TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from benchmarks.row import Row
from benchmarks.timing import milliseconds
from stream_workers.models.deep.recurrent import Ends, Recurrent
from stream_workers.models.deep.recurrent_cells import Cell, Gru, MinGru

USERS, ITEMS, SIZE = 1000, 10_000, 64
HIDDEN, LINEAR_HIDDEN = 64, 128
STEPS = 200
WANTED = "<= 5 ms"


def run() -> list[Row]:
    """The median of 200 steps, for both recurrences."""
    rng = np.random.default_rng(4)
    items = rng.integers(ITEMS, size=(STEPS, USERS))
    gaps = rng.integers(1, 3_600_000, size=(STEPS, USERS))
    stepped, linear = (milliseconds(_stepping(recurrent(cell, rng), items, gaps), STEPS) for cell in (gru(rng), _min_gru(rng)))
    keras = milliseconds(_keras(rng, items), STEPS)
    return [
        Row("rnn_step/gru", stepped, "ms", "GRU cell of Keras, compiled", stepped / keras, WANTED),
        Row("rnn_step/linear_recurrence", linear, "ms", "rnn_step/gru", linear / stepped, WANTED),
        Row("rnn_step/keras", keras, "ms"),
    ]


def gru(rng: np.random.Generator) -> Cell:
    """A cell with random weights."""
    return Gru(_drawn(rng, SIZE, 3 * HIDDEN), _drawn(rng, HIDDEN, 3 * HIDDEN), _drawn(rng, 2, 3 * HIDDEN))


def _min_gru(rng: np.random.Generator) -> Cell:
    return MinGru(_drawn(rng, SIZE, 2 * LINEAR_HIDDEN), _drawn(rng, 2 * LINEAR_HIDDEN))


def recurrent(cell: Cell, rng: np.random.Generator) -> Recurrent:
    """The network of this cell with random weights."""
    ends = Ends(_drawn(rng, ITEMS, SIZE), _drawn(rng, SIZE), _drawn(rng, cell.size, SIZE), _drawn(rng, SIZE))
    return Recurrent(ends.inputs, _drawn(rng, ITEMS), cell, ends, tied=True)


def _drawn(rng: np.random.Generator, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return rng.normal(0, 0.1, shape).astype(np.float32)


def _stepping(model: Recurrent, items: np.ndarray, gaps: np.ndarray) -> Callable[[int], None]:  # type: ignore[type-arg]
    states = [model.initial(USERS)]

    def step(n: int) -> None:
        states[0] = model.step(states[0], items[n], gaps[n])

    return step


def _keras(rng: np.random.Generator, items: np.ndarray) -> Callable[[int], None]:  # type: ignore[type-arg]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf  # noqa: PLC0415 - after its log level is set

    vectors = tf.constant(_drawn(rng, ITEMS, SIZE))
    layer = tf.keras.layers.GRUCell(HIDDEN)
    layer.build((USERS, SIZE))
    advance = tf.function(lambda items, states: layer(tf.gather(vectors, items), [states])[0])
    states = [tf.zeros((USERS, HIDDEN))]

    def step(n: int) -> None:
        states[0] = advance(tf.constant(items[n]), states[0])
        states[0].numpy()

    return step
