"""Where a command writes to, looked at before a long run depends on it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from schemas.errors import InvalidInput


def checked_output(option: str, path: Path | None, endings: Collection[str]) -> Path | None:
    """The path itself.

    Raises:
        InvalidInput: a name with another ending, or no such folder.
    """
    if path is None:
        return None
    if path.suffix.lower() not in endings:
        raise InvalidInput(f"{option} {path}: expected a name that ends in {', '.join(endings)}")
    if not path.expanduser().absolute().parent.is_dir():
        raise InvalidInput(f"{option} {path}: there is no folder {path.parent}")
    return path.expanduser()
