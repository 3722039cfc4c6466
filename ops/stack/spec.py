"""What a supervisor is started with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ops.stack.backends import Plan
from ops.stack.files import read_json
from ops.stack.state import Folder
from schemas.errors import StackError


@dataclass(frozen=True)
class Spec:
    """What a supervisor is started with. `commands` has `worker`, `api` and `topics`; `variables` go to all of them."""

    name: str
    plan: Plan
    commands: dict[str, list[str]]
    variables: dict[str, str]
    api_port: int

    def as_json(self) -> dict[str, Any]:
        """For the spec file."""
        return asdict(self)

    @classmethod
    def read(cls, folder: Folder) -> Spec:
        """The spec file.

        Raises:
            StackError: it is not there or not readable.
        """
        value = read_json(folder.spec)
        if value is None:
            raise StackError(f"no readable {folder.spec}")
        return cls(**{**value, "plan": Plan.from_json(value["plan"])})
