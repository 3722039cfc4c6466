"""Beginning a training with the weights of an earlier one: what both know is taken over by name, the rest begins as usual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import I64
from batch.models.interface import Begun, Entries, Weights

Speaks = Sequence[tuple[Any, Entries]]
"""Trainable variables of a network, and what lies along one of their axes; the others are taken over as they are."""

NOTHING_LASTS = Entries(0, ())
"""Of an array whose entries mean something else after another log: nothing of it is taken over."""


def weights_of(network: Any, speaks: Speaks, model: str, last_ms: int) -> Weights:
    """The network's trainable weights as they are now."""
    variables = network.trainable_variables
    arrays = tuple(np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables)
    return Weights(model, last_ms, arrays, _entries(variables, speaks))


def begin_with(start: Weights, network: Any, speaks: Speaks, model: str) -> Begun:
    """Give a network the weights of an earlier training, all that fit, or none of them.

    They fit if they are of the same model and all axes are as long as here, but for those that `speaks` names: along these the
    entries of the same name are taken over, whatever their places; the others stay as they are.
    """
    variables = network.trainable_variables
    here = _entries(variables, speaks)
    if misfit := _misfit(start, variables, here, model):
        return Begun(False, misfit)
    known = total = 0
    for variable, entries, array, before in zip(variables, here, start.arrays, start.entries, strict=True):
        if entries is None or before is None:
            variable.assign(array)
            continue
        new, old = _shared(entries, before)
        variable.assign(_merged(variable, array, entries.axis, new, old))
        known, total = known + len(new), total + variable.shape[entries.axis]
    return Begun(True, f"{known:,} of {total:,} named vectors taken over, and the layers between them")


def _entries(variables: Sequence[Any], speaks: Speaks) -> tuple[Entries | None, ...]:
    named = {id(variable): entries for variable, entries in speaks}
    return tuple(named.get(id(variable)) for variable in variables)


def _misfit(start: Weights, variables: Sequence[Any], here: Sequence[Entries | None], model: str) -> str | None:
    """Why the weights cannot be used; None: they can."""
    if start.model != model:
        return f"they are of {start.model}, not of {model}"
    if len(start.arrays) != len(variables):
        return f"they are {len(start.arrays)} arrays, this network has {len(variables)}"
    for variable, entries, array, before in zip(variables, here, start.arrays, start.entries, strict=True):
        if _fixed(array.shape, before) != _fixed(tuple(variable.shape), entries):
            return f"{variable.path} was {_shape(array.shape)}, here it is {_shape(variable.shape)}"
    return None


def _fixed(shape: tuple[int, ...], entries: Entries | None) -> tuple[int, ...]:
    """The shape, -1 for the axis that may differ."""
    return tuple(-1 if entries is not None and at == entries.axis else size for at, size in enumerate(shape))


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _shared(here: Entries, before: Entries) -> tuple[I64, I64]:
    """The places of the names that both have: (here, before)."""
    place = {name: at for at, name in enumerate(before.names)}
    pairs = [(at, place[name]) for at, name in enumerate(here.names) if name in place]
    new, old = np.array(pairs, np.int64).reshape(-1, 2).T
    return new, old


def _merged(variable: Any, array: NDArray[Any], axis: int, new: I64, old: I64) -> NDArray[Any]:
    merged = np.moveaxis(np.array(keras.ops.convert_to_numpy(variable.value)), axis, 0)
    merged[new] = np.moveaxis(array, axis, 0)[old]
    return np.moveaxis(merged, 0, axis)
