"""The published models that the learner asks: those that serve are sources of the blend, those in the shadow are only judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from feature_store.version_follower import VersionFollower
from stream_workers.models.deep.bank_sources import BankSources
from stream_workers.models.deep.loading import published


class LearnerSources:
    """Follows both pointers of some models.

    Args:
        root: folder of all models; it may come later. None: there is none. names: the models.
    """

    def __init__(self, root: Path | None, names: Sequence[str]) -> None:
        self._serving = VersionFollower(root, names, published, tuple)
        self._shadow = VersionFollower(root, names, published, tuple, pointer="shadow")
        self._current = BankSources(())

    def now(self) -> BankSources:
        """Look, and say which they are: the same object until a version changes. Reads files: for a thread."""
        changed = [follower.refresh() for follower in (self._serving, self._shadow)]
        if any(changed):
            self._current = BankSources(self._serving.current, self._shadow.current)
        return self._current
