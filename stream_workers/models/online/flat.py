"""The world as named arrays, rows first, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidSettings
from stream_workers.models.online.world import World


def leaves(world: World) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every array of the world with its dotted name."""
    for group, part in world._asdict().items():
        if isinstance(part, np.ndarray):
            yield group, part
        else:
            yield from ((f"{group}.{name}", array) for name, array in part._asdict().items())


def flattened(world: World) -> dict[str, NDArray[Any]]:
    """Views of all arrays; popularity, whose rows are half-lives, as one array per half-life, so that rows are items."""
    found: dict[str, NDArray[Any]] = {}
    for name, array in leaves(world):
        if name == "popularity.values":
            found.update({f"{name}.{row}": array[row] for row in range(len(array))})
        else:
            found[name] = array
    return found


def unflattened(like: World, state: Mapping[str, NDArray[Any]]) -> World:
    """The world with these arrays, copied.

    Args:
        like: says which arrays there must be, of which kind; only their first axis may differ.

    Raises:
        InvalidSettings: an array is missing or of another kind.
    """
    groups: dict[str, Any] = {}
    for group, part in like._asdict().items():
        if isinstance(part, np.ndarray):
            groups[group] = _taken(state, group, part)
            continue
        arrays = {}
        for name, array in part._asdict().items():
            if f"{group}.{name}" == "popularity.values":
                arrays[name] = np.stack([_taken(state, f"{group}.{name}.{row}", array[row]) for row in range(len(array))])
            else:
                arrays[name] = _taken(state, f"{group}.{name}", array)
        groups[group] = type(part)(**arrays)
    return World(**groups)


def _taken(state: Mapping[str, NDArray[Any]], name: str, like: NDArray[Any]) -> NDArray[Any]:
    found = state.get(name)
    if found is None or found.dtype != like.dtype or found.shape[1:] != like.shape[1:]:
        raise InvalidSettings(f"stored models: {name} is {_kind(found)}, expected {_kind(like)}")
    return np.array(found, order="C")


def _kind(array: NDArray[Any] | None) -> str:
    return "missing" if array is None else f"{array.dtype}[n{''.join(f', {size}' for size in array.shape[1:])}]"
