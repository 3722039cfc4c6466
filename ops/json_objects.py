"""Settings files: one JSON object each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from schemas.errors import InvalidSettings


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """The object in a file.

    Args:
        expected: what should be there, for the message.

    Raises:
        InvalidSettings: it cannot be read, is no JSON, or no object.
    """
    try:
        found = orjson.loads(path.expanduser().read_bytes())
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InvalidSettings(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidSettings(f"{path}: expected {expected}")
    return found


def write_object(path: Path, fields: Mapping[str, Any]) -> None:
    """Write a file that `read_object` reads.

    Raises:
        InvalidSettings: it cannot be written.
    """
    try:
        path.expanduser().write_bytes(orjson.dumps(dict(fields), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be written: {error.strerror or error}") from error
