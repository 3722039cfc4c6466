"""A recurrent network that is advanced one step per event: what the worker keeps of a user is one state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput
from stream_workers.models.deep.recurrent_cells import CELLS, Cell
from stream_workers.models.deep.scorer import F32, I64, Query
from stream_workers.models.deep.vectors import VectorScorer, array_of

_NOTHING: Final = -1
_GAP_SCALE: Final = np.float32(0.1)


class Ends(NamedTuple):
    """What stands before and behind the cell.

    Attributes:
        inputs: float32[P, D], the items as the cell reads them. gap: float32[D], what one unit of `gap_input` adds to an item.
        project: float32[H, d], from the state to the space of the item vectors. shift: float32[d].
    """

    inputs: F32
    gap: F32
    project: F32
    shift: F32


class Recurrent(VectorScorer):
    """h_t = cell(h_(t-1), inputs[i_t] + gap_input(t) gap); score(user, j) = (h project + shift) . vectors[j] + bias[j].

    Args:
        vectors: float32[P, d]. bias: float32[P]. cell: state size H, input size D. tied: `ends.inputs` is `vectors`.
    """

    kind = "recurrent"

    def __init__(self, vectors: F32, bias: F32, cell: Cell, ends: Ends, tied: bool = False) -> None:
        super().__init__(vectors, bias)
        self._cell, self._ends, self._tied = cell, ends, tied

    def initial(self, n: int) -> F32:
        """The states of n users of whom nothing is known: float32[n, H]."""
        return np.zeros((n, self._cell.size), np.float32)

    def step(self, states: F32, items: I64, gaps_ms: I64) -> F32:
        """The states of n different users after one more event each.

        Args:
            states: float32[n, H], not changed. items: int64[n]; a row that is none of the P items leaves its state as it is.
            gaps_ms: int64[n], since the user's event before, 0 for the first one.
        """
        known = (items >= 0) & (items < len(self._ends.inputs))
        inputs = self._ends.inputs[np.where(known, items, 0)] + gap_input(gaps_ms)[:, None] * self._ends.gap
        moved = self._cell.step(states, inputs)
        return moved if known.all() else np.where(known[:, None], moved, states)

    def encode(self, query: Query) -> F32:
        """The state after the query's items: float32[H]."""
        state: F32 = self.encode_all([query])[0]
        return state

    def encode_all(self, queries: Sequence[Query]) -> F32:
        """The state of each query: float32[B, H]. Step t is taken by all that have an item there, in one batch."""
        states, (items, gaps) = self.initial(len(queries)), _columns(queries)
        for item, gap in zip(items, gaps, strict=True):
            there = item != _NOTHING
            states[there] = self.step(states[there], item[there], gap[there])
        return states

    def score_states(self, states: F32) -> F32:
        """float32[n, P] of float32[n, H]."""
        scores: F32 = self.vectors_of(states) @ self.item_vectors.T + self.item_bias
        return scores

    def user_vectors(self, queries: Sequence[Query]) -> F32:
        """See `VectorScorer`."""
        return self.vectors_of(self.encode_all(queries))

    def vectors_of(self, states: F32) -> F32:
        """The user vectors of states, float32[n, H]: float32[n, d]."""
        vectors: F32 = states @ self._ends.project + self._ends.shift
        return vectors

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """See `Scorer`."""
        ends = {name: value for name, value in self._ends._asdict().items() if not (self._tied and name == "inputs")}
        return {"item_vectors": self.item_vectors, "item_bias": self.item_bias, **ends, **self._cell.arrays()}

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        return {"cell": self._cell.name, "tied": self._tied}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """See `Scorer`."""
        vectors = array_of(arrays, "item_vectors", None, None)
        inputs = vectors if settings["tied"] else array_of(arrays, "inputs", len(vectors), None)
        cell = _cell_class(str(settings["cell"])).load(arrays, inputs.shape[1])
        ends = Ends(
            inputs,
            array_of(arrays, "gap", inputs.shape[1]),
            array_of(arrays, "project", cell.size, vectors.shape[1]),
            array_of(arrays, "shift", vectors.shape[1]),
        )
        return cls(vectors, array_of(arrays, "item_bias", len(vectors)), cell, ends, bool(settings["tied"]))


def gap_input(gaps_ms: I64) -> F32:
    """0.1 ln(1 + seconds): about 0.4 for a minute, 1.1 for a day, 1.7 for a year; 0 for spans below 0.

    >>> gap_input(np.array([0, 60_000, 86_400_000, -5])).round(2).tolist()
    [0.0, 0.4099999964237213, 1.1399999856948853, 0.0]
    """
    seconds = np.maximum(gaps_ms, 0) / 1000
    logarithms: F32 = _GAP_SCALE * np.log1p(seconds).astype(np.float32)
    return logarithms


def _columns(queries: Sequence[Query]) -> tuple[I64, I64]:
    """Items and gaps by step, int64[L, B] each; -1 and 0 where a query has ended."""
    shape = (max((len(query.items) for query in queries), default=0), len(queries))
    items, gaps = np.full(shape, _NOTHING, np.int64), np.zeros(shape, np.int64)
    for column, query in enumerate(queries):
        items[: len(query.items), column] = query.items
        gaps[1 : len(query.items), column] = np.diff(query.timestamps)
    return items, gaps


def _cell_class(name: str) -> type[Cell]:
    found = {cell.name: cell for cell in CELLS}
    if name not in found:
        raise InvalidInput(f"recurrent cell {name!r} is not known; there are {', '.join(found)}")
    return found[name]
