"""A model with other settings than its defaults, as they stand in a settings file, and what of them can be searched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from batch.models.catalogue import model_class
from batch.models.interface import BatchModel
from schemas.errors import InvalidInput, InvalidSettings


def configured(name: str, settings: Mapping[str, Any]) -> BatchModel:
    """The model of that name with these settings instead of its defaults; lists become tuples.

    Raises:
        InvalidInput: no such model.
        InvalidSettings: a setting that it does not have, or a value of another type or out of range.
    """
    kind = model_class(name)
    known = settings_of(kind)
    if unknown := sorted(settings.keys() - known.keys()):
        raise InvalidSettings(f"{name} has no setting {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    try:
        return kind(**{setting: _typed(name, setting, known[setting], value) for setting, value in settings.items()})
    except InvalidInput as error:
        raise InvalidSettings(str(error)) from error


def settings_of(kind: type[BatchModel]) -> dict[str, Any]:
    """The settings of a model and their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]


def _typed(name: str, setting: str, kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InvalidSettings(f"{name}: {setting}={value!r}: {said}") from error
