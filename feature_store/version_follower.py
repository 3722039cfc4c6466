"""Follows which versions of some published models serve, for a process that uses them: looks are cheap, a swap is whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Literal, TypeVar

from feature_store.model_versions import read_version
from feature_store.version_arrays import StoredVersion
from feature_store.version_pointers import Watcher
from schemas.errors import FreshetError

log = logging.getLogger(__name__)

Model = TypeVar("Model")
Together = TypeVar("Together")


class VersionFollower(Generic[Model, Together]):
    """The serving versions of some models, or those in their shadow.

    Args:
        root: folder of all models; it may come later. None: there is none. names: the models, in the order of `current`.
        make: from what was read to a model. together: from the models that have such a version to what is used.
        pointer: which version is meant.

    Attributes:
        current: of these versions. A new one when any of them changes, so whoever holds one goes on with one consistent set.
        faults: versions that could not be used.
    """

    def __init__(
        self,
        root: Path | None,
        names: Sequence[str],
        make: Callable[[StoredVersion], Model],
        together: Callable[[Sequence[Model]], Together],
        pointer: Literal["serving", "shadow"] = "serving",
    ) -> None:
        self._root = root or Path()
        self._make = make
        self._together = together
        self._pointer = pointer
        self._watchers = {name: Watcher(root, name) for name in names} if root else {}
        self._made: dict[str, Model] = {}
        self.current = together(())
        self.faults = 0

    def refresh(self) -> bool:
        """Look, and take over what has changed; True if anything has. Reads files: for a thread.

        A version that cannot be used is told of and counted, and the one before it stays.
        """
        changed = [name for name, watcher in self._watchers.items() if self._refreshed(name, watcher)]
        if changed:
            self.current = self._together([self._made[name] for name in self._watchers if name in self._made])
        return bool(changed)

    def _refreshed(self, name: str, watcher: Watcher) -> bool:
        version = None
        try:
            pointers = watcher.poll()
            if pointers is None:
                return False
            version = pointers._asdict()[self._pointer]
            if version is None:
                return self._made.pop(name, None) is not None
            self._made[name] = self._make(read_version(self._root, name, version))
        except (FreshetError, OSError) as error:
            self.faults += 1
            log.warning("model %s %s: %s; going on with what there is", name, version or "", error)
            return False
        log.info("model %s: %s is %s here", name, version, self._pointer)
        return True
