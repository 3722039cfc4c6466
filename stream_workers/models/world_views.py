"""A world whose arrays are views of memory that others share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidSettings
from stream_workers.models.online.flat import HALF_LIVES_FIRST, leaves
from stream_workers.models.online.world import World

Array = NDArray[Any]
_ROWS: Final = f"{HALF_LIVES_FIRST}."
_ASKED_WITH: Final = "popularity.unit"
"""Worked out for every question: whoever asks needs their own."""


def as_stored(state: Mapping[str, Array]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """dtype and shape of each array of a state as `world_over` takes it: popularity in one piece, its rows half-lives."""
    rows = [name for name in state if name.startswith(_ROWS)]
    found = {name: (array.dtype.str, array.shape) for name, array in state.items() if name not in set(rows)}
    if rows:
        first = state[rows[0]]
        found[HALF_LIVES_FIRST] = (first.dtype.str, (len(rows), *first.shape))
    return found


def as_state(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Views of them by the names of a state, popularity in rows."""
    found = {name: array for name, array in arrays.items() if name != HALF_LIVES_FIRST}
    return found | {f"{_ROWS}{row}": array for row, array in enumerate(arrays.get(HALF_LIVES_FIRST, ()))}


def world_over(arrays: Mapping[str, Array], like: World) -> World:
    """The world that these arrays are; nothing is copied but what questions write to.

    Args:
        like: says which arrays there must be, of which kind; only their length may differ.

    Raises:
        InvalidSettings: an array is missing or of another kind.
    """
    found = {name: _taken(arrays, name, array) for name, array in leaves(like)}
    parts = like._asdict()
    groups: dict[str, Any] = {
        group: found[group] if isinstance(part, np.ndarray) else part._make(found[f"{group}.{name}"] for name in part._fields)
        for group, part in parts.items()
    }
    return World(**groups)


def _taken(arrays: Mapping[str, Array], name: str, like: Array) -> Array:
    array = arrays.get(name)
    if array is None or array.dtype != like.dtype or array.ndim != like.ndim or array.shape[1:] != _width(name, array, like):
        raise InvalidSettings(f"shared models: {name} is not {like.dtype} with rows of {like.shape[1:]}")
    return array.copy() if name == _ASKED_WITH else array


def _width(name: str, array: Array, like: Array) -> tuple[int, ...]:
    """What a row must be like; that of popularity, a half-life, is as long as there are items."""
    return array.shape[1:] if name == HALF_LIVES_FIRST and len(array) == len(like) else like.shape[1:]
