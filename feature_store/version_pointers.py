"""Which version of a model serves: the file `<root>/<model>/state.json`, replaced in one step, so that it is always whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from feature_store.model_versions import read_plain_file
from feature_store.version_manifest import (
    CorruptVersion,
    Count,
    Finite,
    Frozen,
    Milliseconds,
    checked_model_name,
    read_fields,
    validated,
)

SCHEMA_VERSION: Final = 1
STATE: Final = "state.json"


class Pointers(NamedTuple):
    """The version that answers users, and the one that is only scored beside it; None: there is none."""

    serving: str | None = None
    shadow: str | None = None


class GateRecord(Frozen):
    """What the gate said of a version: whether it may serve, why, the figures, and which serving version it was compared with."""

    at_ms: Milliseconds
    against: str | None
    promote: bool
    reasons: Annotated[tuple[str, ...], Field(strict=False)]
    figures: Mapping[str, Finite] = {}


class Change(Frozen):
    """One move of a pointer: from which version to which, when, by whom, why, with the version's metrics of that time."""

    at_ms: Milliseconds
    action: Literal["promote", "rollback", "shadow"]
    before: str | None
    after: str | None
    by: str
    reason: str
    forced: bool = False
    metrics: Mapping[str, Finite] = {}


class State(Frozen):
    """All that may change about the versions of one model.

    Attributes:
        generation: goes up by one with every change.
        earlier: what served before, newest last; a rollback takes the last one.
        gates: what the gate said, by version.
        history: the newest moves, oldest first.
    """

    schema_version: int = SCHEMA_VERSION
    generation: Count = 0
    serving: str | None = None
    shadow: str | None = None
    earlier: Annotated[tuple[str, ...], Field(strict=False)] = ()
    gates: Mapping[str, GateRecord] = {}
    history: Annotated[tuple[Change, ...], Field(strict=False)] = ()

    @property
    def pointers(self) -> Pointers:
        """What serves and what is in the shadow."""
        return Pointers(self.serving, self.shadow)

    @property
    def previous(self) -> str | None:
        """What a rollback would bring back."""
        return self.earlier[-1] if self.earlier else None

    def status_of(self, version: str) -> str:
        """`serving`, `shadow`, `previous`, or nothing."""
        names = {self.previous: "previous", self.shadow: "shadow", self.serving: "serving"}
        return names.get(version, "")


def read_state(root: Path, model: str) -> State:
    """The state of a model; an empty one where nothing was ever promoted.

    Raises:
        CorruptVersion: the file is damaged. LayoutMismatch: a newer Freshet wrote it.
    """
    folder = root / checked_model_name(model)
    path = folder / STATE
    if folder.is_symlink():
        raise CorruptVersion(f"{folder}: is a link")
    if not path.exists() and not path.is_symlink():
        return State()
    return validated(State, read_fields(read_plain_file(path), path, SCHEMA_VERSION), path)


class Watcher:
    """Notices that a pointer moved. One look is one `stat`; the file is read only when it is another one than last time.

    >>> Watcher(Path("/nowhere"), "two_tower").poll() is None
    True
    """

    def __init__(self, root: Path, model: str) -> None:
        self._root = root
        self._model = checked_model_name(model)
        self._path = str(root / model / STATE)
        self._seen: tuple[int, int, int] | None = None
        self.pointers = Pointers()
        """As of the last look that worked."""

    def poll(self) -> Pointers | None:
        """The pointers, if one has moved since the last look.

        A root that is not there (a volume that is not mounted yet, or no longer) is no news: what was known stays. The writer gives
        every state a later mtime than the one before, so two changes within one tick of the clock are seen too.

        Raises:
            CorruptVersion, LayoutMismatch: the state cannot be read; once for each such file, then there is no news again.
        """
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a third of the time of Path.stat
        except OSError:
            return None
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen == self._seen:
            return None
        self._seen = seen
        now = read_state(self._root, self._model)
        if now.generation == 0 or now.pointers == self.pointers:  # generation 0: it was taken away just now
            return None
        self.pointers = now.pointers
        return now.pointers
