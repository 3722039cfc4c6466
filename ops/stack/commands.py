"""The parts of a stack that are commands of `freshet`: workers, the API, and the one that creates the topics."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ops.stack.ports import HOST
from ops.stack.processes import Child, start, stop, tail
from ops.stack.readiness import api_answers, heartbeats
from ops.stack.state import Folder
from schemas.errors import StackError

if TYPE_CHECKING:
    from schemas.settings import Settings  # not at run time: pydantic would cost a starting supervisor 0.4 s

COMMANDS: dict[str, list[str]] = {command: [sys.executable, "-m", "ops.cli", command] for command in ("worker", "api", "topics")}
PREFIX = "FRESHET_"
TOPICS_SECONDS = 120.0
ROOT = Path(__file__).resolve().parents[2]


def child_environment(settings: Settings) -> dict[str, str]:
    """The variables that give a child the same settings: everything that is not at its default, and the import path.

    No secrets: these variables are written to the folder of the stack. `Settings.secrets` go to the supervisor directly.

    The import path makes `-m ops...` work from any working folder, and safe there (a folder `ops` of the user's own).
    """
    given = settings.model_dump(mode="json", exclude_defaults=True)
    given = {name: value for name, value in given.items() if f"{PREFIX}{name.upper()}" not in settings.secrets()}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in given.items()} | {
        "PYTHONPATH": path,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True)
class Runner:
    """What every command of one stack has in common.

    `variables` are added to this process's environment; `addresses` are read at each start, since they are known late.
    """

    folder: Folder
    commands: Mapping[str, list[str]]
    variables: Mapping[str, str]
    addresses: Mapping[str, str] = field(default_factory=dict)

    def start(self, command: str, log: Path, **ports: int) -> Child:
        """Start a command; `ports` become `FRESHET_<NAME>_PORT`."""
        own = {f"{PREFIX}{name.upper()}_PORT": str(port) for name, port in ports.items()}
        environment = os.environ | self.variables | {PREFIX + k.upper(): v for k, v in self.addresses.items()} | own
        return start(self.commands[command], log, None, environment)

    def create_topics(self, cancelled: Callable[[], bool]) -> None:
        """Run the topics command to its end.

        Raises:
            StackError: it failed or took too long, with the last lines of its log; or `cancelled` came true.
        """
        log = self.folder.logs / "topics.log"
        child = self.start("topics", log)
        deadline = time.monotonic() + TOPICS_SECONDS
        while child.alive() and time.monotonic() < deadline and not cancelled():
            time.sleep(0.02)
        stop([child], grace=1.0)
        if child.process.returncode != 0:
            raise StackError(f"creating the topics failed; the last lines of {log}:\n{tail(log)}")


@dataclass(frozen=True)
class Worker:
    """One stream worker; ready when its heartbeat is in Redis."""

    runner: Runner
    number: int

    kind = "worker"
    grace = 20.0
    patience = 120.0

    @property
    def name(self) -> str:
        """`worker-1`, ..."""
        return f"worker-{self.number}"

    @property
    def log(self) -> Path:
        """What it logs."""
        return self.runner.folder.logs / f"{self.name}.log"

    def settle(self) -> None:
        """Choose another port for its metrics when somebody else holds it."""
        self.runner.folder.ports.settle(self.name)

    def launch(self) -> Child:
        """Start it."""
        return self.runner.start("worker", self.log, worker=self.runner.folder.ports.get(self.name))

    def ready(self, child: Child) -> bool:
        """Whether a heartbeat with its pid is there."""
        return child.pid in heartbeats(self.runner.addresses["redis"])


@dataclass(frozen=True)
class Api:
    """The API; ready when it says so. `preferred` is the port that it gets when that is free."""

    runner: Runner
    preferred: int

    name = kind = "api"
    grace = 15.0
    patience = 120.0

    @property
    def address(self) -> str:
        """Its URL."""
        return f"http://{HOST}:{self.runner.folder.ports.get('api', self.preferred)}"

    @property
    def log(self) -> Path:
        """What it logs."""
        return self.runner.folder.logs / "api.log"

    def settle(self) -> None:
        """Choose another port when somebody else holds it."""
        self.runner.folder.ports.settle("api")

    def launch(self) -> Child:
        """Start it."""
        return self.runner.start("api", self.log, api=self.runner.folder.ports.get("api", self.preferred))

    def ready(self, child: Child) -> bool:
        """Whether GET /readyz answers 200."""
        return child.alive() and api_answers(self.address)
