"""The state of models as named arrays, rows first, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidSettings


class Tree(Protocol):
    """A NamedTuple of arrays and of NamedTuples of arrays: the world, or the parts of one model."""

    def _asdict(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=Tree)
HALF_LIVES_FIRST: Final = "popularity.values"
"""The array whose rows are half-lives, not items."""


def leaves(tree: Tree) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every array with its dotted name."""
    for group, part in tree._asdict().items():
        if isinstance(part, np.ndarray):
            yield group, part
        else:
            yield from ((f"{group}.{name}", array) for name, array in part._asdict().items())


def flattened(tree: Tree) -> dict[str, NDArray[Any]]:
    """Views of all arrays; popularity, whose rows are half-lives, as one array per half-life, so that rows are items."""
    found: dict[str, NDArray[Any]] = {}
    for name, array in leaves(tree):
        if name == HALF_LIVES_FIRST:
            found.update({f"{name}.{row}": array[row] for row in range(len(array))})
        else:
            found[name] = array
    return found


def unflattened(like: T, state: Mapping[str, NDArray[Any]]) -> T:
    """The tree with these arrays, copied.

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
        arrays = {name: _leaf(state, f"{group}.{name}", array) for name, array in part._asdict().items()}
        groups[group] = type(part)(**arrays)
    return type(like)(**groups)


def _leaf(state: Mapping[str, NDArray[Any]], name: str, like: NDArray[Any]) -> NDArray[Any]:
    if name == HALF_LIVES_FIRST:
        return np.stack([_taken(state, f"{name}.{row}", array) for row, array in enumerate(like)])
    return _taken(state, name, like)


def _taken(state: Mapping[str, NDArray[Any]], name: str, like: NDArray[Any]) -> NDArray[Any]:
    found = state.get(name)
    if found is None or found.dtype != like.dtype or found.shape[1:] != like.shape[1:]:
        raise InvalidSettings(f"stored models: {name} is {_kind(found)}, expected {_kind(like)}")
    return np.array(found, order="C")


def _kind(array: NDArray[Any] | None) -> str:
    return "missing" if array is None else f"{array.dtype}[n{''.join(f', {size}' for size in array.shape[1:])}]"
