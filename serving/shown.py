"""How often this process has shown items, for Thompson sampling: a bounded tally that begins anew with the process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_KEPT: Final = 100_000


class Shown:
    """Item to impressions; the items that were first shown longest ago are forgotten first."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def times(self, item: str) -> int:
        """How often the item was shown."""
        return self._times.get(item, 0)

    def note(self, items: Iterable[str]) -> None:
        """The items were shown once more."""
        for item in items:
            if item not in self._times and len(self._times) >= _KEPT:
                del self._times[next(iter(self._times))]
            self._times[item] = self._times.get(item, 0) + 1
