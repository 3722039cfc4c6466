"""What is popular where, over arrays that others share: it answers, it does not learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from stream_workers.models.online.context_counts import Counts
from stream_workers.models.online.context_popularity import ContextPopularity


class ContextView(ContextPopularity):
    """Popularity by context as some arrays have it, without a copy.

    Args:
        state: as `ContextPopularity.state` gives it.

    Raises:
        KeyError: an array is missing.
    """

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._counts = Counts(**{name: state[name] for name in Counts._fields})
        self._ids = state["ids"]
        self._context = {key: row for row, key in enumerate(self._counts.keys.tolist()) if key}
