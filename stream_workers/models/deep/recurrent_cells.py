"""One step of a recurrent network for many users at once, in NumPy: the arithmetic of Keras, on the weights that it learnt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import F32
from stream_workers.models.deep.vectors import array_of


class Cell(ABC):
    """A state of H numbers and how one input of D numbers moves it."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def size(self) -> int:
        """H."""

    @abstractmethod
    def step(self, states: F32, inputs: F32) -> F32:
        """The states after the inputs: float32[n, H] and float32[n, D] to float32[n, H]; the arguments stay as they are."""

    @abstractmethod
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The weights."""

    @classmethod
    @abstractmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], inputs: int) -> Self:
        """The cell of these weights, for inputs of that many numbers.

        Raises:
            InvalidInput: an array is missing or has another shape.
        """


class Gru(Cell):
    """Gated recurrent unit (Cho et al., EMNLP 2014), its reset gate applied behind the product, as in Keras and cuDNN.

    z, r = sigmoid(x W_zr + h U_zr + b); n = tanh(x W_n + b_n + r (h U_n + c_n)); h' = z h + (1 - z) n

    Args:
        kernel: float32[D, 3 H], gates z, r, n. recurrent: float32[H, 3 H]. bias: float32[2, 3 H], of x and of h.
    """

    name = "gru"

    def __init__(self, kernel: F32, recurrent: F32, bias: F32) -> None:
        self._kernel, self._recurrent, self._bias = kernel, recurrent, bias
        two = 2 * len(recurrent)  # one product for both gates: less to read and write again than two that are added
        self._to_gates = np.concatenate((kernel[:, :two], recurrent[:, :two]))
        self._gate_bias = bias[0, :two] + bias[1, :two]
        self._to_new = np.ascontiguousarray(kernel[:, two:]), np.ascontiguousarray(recurrent[:, two:])

    @property
    def size(self) -> int:
        """H."""
        return len(self._recurrent)

    def step(self, states: F32, inputs: F32) -> F32:
        """See `Cell`."""
        gates = np.concatenate((inputs, states), axis=1) @ self._to_gates
        gates += self._gate_bias
        update, reset = np.split(sigmoid(gates, gates), 2, axis=1)
        of_inputs, of_states = self._to_new
        new = states @ of_states
        new += self._bias[1, 2 * self.size :]
        new *= reset
        new += inputs @ of_inputs
        new += self._bias[0, 2 * self.size :]
        return _between(np.tanh(new, out=new), states, update)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Cell`."""
        return {"kernel": self._kernel, "recurrent": self._recurrent, "cell_bias": self._bias}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], inputs: int) -> Self:
        """See `Cell`."""
        kernel = array_of(arrays, "kernel", inputs, None)
        size, rest = divmod(kernel.shape[1], 3)
        if rest:
            raise InvalidInput(f"array 'kernel' has {kernel.shape[1]} columns; a GRU has three for each number of its state")
        return cls(kernel, array_of(arrays, "recurrent", size, 3 * size), array_of(arrays, "cell_bias", 2, 3 * size))


class MinGru(Cell):
    """minGRU (Feng et al., "Were RNNs all we needed?", 2024): gates look at the input only, so a whole sequence is one scan.

    z = sigmoid(x W_z + b_z); n = x W_n + b_n; h' = (1 - z) h + z n

    Args:
        kernel: float32[D, 2 H], gates z, n. bias: float32[2 H].
    """

    name = "min_gru"

    def __init__(self, kernel: F32, bias: F32) -> None:
        self._kernel, self._bias = kernel, bias

    @property
    def size(self) -> int:
        """H."""
        return len(self._bias) // 2

    def step(self, states: F32, inputs: F32) -> F32:
        """See `Cell`."""
        given = inputs @ self._kernel
        given += self._bias
        gate, new = np.split(given, 2, axis=1)
        return _between(states, new, sigmoid(gate, gate))

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Cell`."""
        return {"kernel": self._kernel, "cell_bias": self._bias}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], inputs: int) -> Self:
        """See `Cell`."""
        kernel = array_of(arrays, "kernel", inputs, None)
        if kernel.shape[1] % 2:
            raise InvalidInput(f"array 'kernel' has {kernel.shape[1]} columns; a minGRU has two for each number of its state")
        return cls(kernel, array_of(arrays, "cell_bias", kernel.shape[1]))


CELLS: Final[tuple[type[Cell], ...]] = (Gru, MinGru)


def sigmoid(values: F32, out: F32 | None = None) -> F32:
    """1 / (1 + e^-x); into `out` if it is given, which may be `values`.

    >>> sigmoid(np.array([0, -1000], np.float32)).tolist()
    [0.5, 0.0]
    """
    result: F32 = np.negative(values, out=out)
    with np.errstate(over="ignore"):  # e^x beyond float32 is inf, of which 1 / (1 + inf) makes the 0 that it should be
        np.exp(result, out=result)
    result += np.float32(1)
    return np.reciprocal(result, out=result)


def _between(zero: F32, one: F32, share: F32) -> F32:
    """(1 - share) zero + share one, in a new array; in place, because fresh pages cost a step more than its sums."""
    result: F32 = one - zero
    result *= share
    result += zero
    return result
