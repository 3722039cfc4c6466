"""The settings file of the online models: a JSON object with those fields of `BankSettings` that differ from the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from schemas.errors import InvalidSettings
from stream_workers.models.online.settings import BankSettings


def read_model_settings(path: Path | None, **overrides: Any) -> BankSettings:
    """The settings in a file (none: the defaults); overrides that are not None win.

    Raises:
        InvalidSettings: the file cannot be read, is no JSON object, or has a name or a value that does not fit.
    """
    given = {} if path is None else _fields_in(path)
    given.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return BankSettings.from_mapping(given)
    except InvalidSettings as error:
        raise InvalidSettings(f"{path}: {error}" if path else str(error)) from error


def _fields_in(path: Path) -> dict[str, Any]:
    try:
        fields = orjson.loads(path.expanduser().read_bytes())
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InvalidSettings(f"{path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidSettings(f'{path}: expected a JSON object of model settings, such as {{"vector_lr": 0.1}}')
    return fields


def write_model_settings(path: Path, fields: dict[str, Any]) -> None:
    """Write a settings file.

    Raises:
        InvalidSettings: it cannot be written.
    """
    try:
        path.expanduser().write_bytes(orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be written: {error.strerror or error}") from error
