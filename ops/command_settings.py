"""The settings as commands need them: from the environment, and from the running stack what only that knows."""

# ruff: noqa: PLC0415 - imports inside the functions, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.settings import Settings


def settings_of(**overrides: Any) -> Settings:
    """The settings of the environment; overrides that are not None win."""
    from schemas.settings import Settings

    return Settings.from_environment(os.environ, **overrides)


def resolved(name: str, **overrides: Any) -> Settings:
    """The settings with the addresses of Kafka and Redis and the folder of the models."""
    from ops import stack

    return stack.resolve(settings_of(**overrides), name)


def with_kafka(name: str) -> Settings:
    """The settings with the address of Kafka, for commands that need no Redis."""
    settings = settings_of()
    return settings if settings.kafka else resolved(name)
