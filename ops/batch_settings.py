"""The settings file of batch models: a JSON object, the name of a model to those of its settings that differ from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from batch.models.configured import configured
from ops.json_objects import read_object, write_object
from schemas.errors import InvalidSettings

Chosen = Mapping[str, Mapping[str, Any]]
"""Settings by model."""
NONE_CHOSEN: Final[Chosen] = MappingProxyType({})
_EXPECTED: Final = 'settings by model, such as {"two_tower": {"width": 32}}'


def read_chosen(path: Path | None) -> dict[str, dict[str, Any]]:
    """The settings in a file, all of them looked at; none without one.

    Raises:
        InvalidSettings: the file cannot be read, is no such object, or has a name or a value that does not fit.
    """
    if path is None:
        return {}
    found = _objects(path)
    for name, settings in found.items():
        try:
            configured(name, settings)
        except InvalidSettings as error:
            raise InvalidSettings(f"{path}: {error}") from error
    return found


def write_chosen(path: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Write a model's settings; those of other models in the file stay.

    Raises:
        InvalidSettings: the file is there and is none of ours, or it cannot be written.
    """
    others = read_chosen(path) if path.exists() else {}
    write_object(path, {**others, name: dict(settings)})


def _objects(path: Path) -> dict[str, dict[str, Any]]:
    found = read_object(path, _EXPECTED)
    if not all(isinstance(one, dict) for one in found.values()):
        raise InvalidSettings(f"{path}: expected {_EXPECTED}")
    return found
