"""What is known of a stack between processes: its folder, what was asked for, and what its supervisor reports."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.stack.files import read_json, write_json
from ops.stack.ports import Ports
from ops.stack.processes import ProcessId
from schemas.errors import StackError

if TYPE_CHECKING:
    from schemas.settings import Settings  # not at run time: pydantic would cost a starting supervisor 0.4 s

PARTS = frozenset({"kafka", "redis", "worker", "api"})
STARTING, READY, FAILED, STOPPED = "starting", "ready", "failed", "stopped"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")


@dataclass(frozen=True)
class Folder:
    """The folder of one stack and the files in it."""

    path: Path

    @classmethod
    def of(cls, settings: Settings, name: str) -> Folder:
        """The folder of the stack of that name.

        Raises:
            StackError: the name is not one.
        """
        if not _NAME.fullmatch(name):
            raise StackError(f"stack name {name!r}: use 1 to 41 of a-z, 0-9, '_' and '-', starting with a letter or digit")
        return cls(settings.home.expanduser().absolute() / "stacks" / name)

    @property
    def lock(self) -> Path:
        """Held by `up` and `down`; beside the folder, so that removing the folder keeps it."""
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def state(self) -> Path:
        """What the supervisor reports."""
        return self.path / "state.json"

    @property
    def spec(self) -> Path:
        """What the supervisor was started with."""
        return self.path / "spec.json"

    @property
    def desired(self) -> Path:
        """What the supervisor should run; it reads this again on SIGHUP."""
        return self.path / "desired.json"

    @property
    def models(self) -> Path:
        """The published batch models, where the settings name no other folder."""
        return self.path / "models"

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.path / "logs"

    @property
    def ports(self) -> Ports:
        """The ports, kept over restarts."""
        return Ports(self.path / "ports.json")


@dataclass(frozen=True)
class Desired:
    """Which parts should run, and how many workers."""

    parts: frozenset[str]
    workers: int

    @property
    def worker_count(self) -> int:
        """How many workers should run: none when they were not asked for."""
        return self.workers if "worker" in self.parts else 0

    def joined(self, other: Desired) -> Desired:
        """Everything that either asks for."""
        return Desired(self.parts | other.parts, max(self.worker_count, other.worker_count, 1))

    def write(self, folder: Folder) -> None:
        """Save it for the supervisor."""
        write_json(folder.desired, {"parts": sorted(self.parts), "workers": self.workers})

    @classmethod
    def read(cls, folder: Folder) -> Desired:
        """What was saved last; nothing when nothing was."""
        value = read_json(folder.desired) or {"parts": [], "workers": 0}
        return cls(frozenset(value["parts"]), int(value["workers"]))


@dataclass(frozen=True)
class PartState:
    """One process of a running stack, as its supervisor last saw it."""

    name: str
    kind: str
    pid: int
    created: float
    ready: bool
    deaths: int
    log: str

    @property
    def identity(self) -> ProcessId:
        """The process, told apart from a later one of the same pid."""
        return ProcessId(self.pid, self.created)


@dataclass(frozen=True)
class State:
    """What the supervisor reports. `kafka`, `redis` and `api` are None when the stack has none (or not yet)."""

    name: str
    mode: str
    phase: str
    supervisor: ProcessId
    kafka: str | None = None
    redis: str | None = None
    api: str | None = None
    error: str | None = None
    summary: str = ""
    parts: tuple[PartState, ...] = field(default=())

    @property
    def running(self) -> bool:
        """Whether its supervisor lives (the stack may still be starting)."""
        return self.supervisor.alive()

    def write(self, folder: Folder) -> None:
        """Save it."""
        write_json(folder.state, asdict(self))

    @classmethod
    def read(cls, folder: Folder) -> State | None:
        """What was reported last; None when nothing was, or nothing that this version understands."""
        value = read_json(folder.state)
        try:
            return None if value is None else cls._parse(value)
        except (KeyError, TypeError):
            return None

    @classmethod
    def _parse(cls, value: dict[str, Any]) -> State:
        supervisor = ProcessId(**value.pop("supervisor"))
        parts = tuple(PartState(**part) for part in value.pop("parts"))
        # Fields of another version are passed over: its running stack must not count as "not up".
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        return cls(**known, supervisor=supervisor, parts=parts)
