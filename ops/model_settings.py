"""The settings file of the online models: a JSON object with those fields of `BankSettings` that differ from the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ops.json_objects import read_object
from schemas.errors import InvalidSettings
from stream_workers.models.online.settings import BankSettings


def read_model_settings(path: Path | None, **overrides: Any) -> BankSettings:
    """The settings in a file (none: the defaults); overrides that are not None win.

    Raises:
        InvalidSettings: the file cannot be read, is no JSON object, or has a name or a value that does not fit.
    """
    given = {} if path is None else read_object(path, 'a JSON object of model settings, such as {"vector_lr": 0.1}')
    given.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return BankSettings.from_mapping(given)
    except InvalidSettings as error:
        raise InvalidSettings(f"{path}: {error}" if path else str(error)) from error
