"""A home of its own for the tests of the local stack."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import stack
from schemas.settings import Settings


@contextlib.contextmanager
def own_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home of its own, the Kafka cache of this machine; whatever a test leaves running is stopped."""
    cache = os.environ.get("FRESHET_CACHE") or str(Settings.from_environment(os.environ).home / "cache")
    monkeypatch.setenv("FRESHET_CACHE", cache)
    for name in ("FRESHET_KAFKA", "FRESHET_REDIS"):
        monkeypatch.delenv(name, raising=False)
    given = Settings.from_environment({}, home=folder, api_port=0)
    yield given
    for left in (folder / "stacks").glob("[a-z]*"):
        stack.down(given, left.name)
