"""Watches whether the blend became better or worse all at once: ADWIN on its hits.

ADWIN keeps a window of hits (1: the target was in the blend's top ten, 0: it was not) and cuts it where the means of the two parts
differ by more than chance explains at significance delta (Bifet and Gavalda, Learning from Time-Changing Data with Adaptive
Windowing, SDM 2007; river's implementation). After a cut the detector starts anew, as river's does.

river's detector cannot be stored. So the hits since the last cut are kept here, at most 20,000, and the detector is always exactly
what feeding it these hits gives: a restart feeds them again and goes on as if nothing had happened. When they are full, the older
half is dropped and the detector is built anew from the rest, which costs sensitivity to changes slower than 10,000 ranked events.

river takes a second to import: this module is for the learner, not for the API.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN

HITS_KEPT: Final = 20_000
DRIFTS_KEPT: Final = 100
DELTA: Final = 0.002
HIT_RANK: Final = 10
_FIELDS: Final = ("at", "event", "before", "after")

Json = dict[str, Any]


class DriftWatch:
    """Finds changes in the share of hits.

    Args:
        delta: significance of a cut; smaller: fewer false alarms.
        kept: hits that are remembered.

    Attributes:
        seen: ranked events told so far.
        found: drifts found so far.

    >>> watch = DriftWatch()
    >>> watch.add(np.array([3, 1] * 200), np.arange(400))
    []
    >>> [(drift["before"], drift["after"]) for drift in watch.add(np.array([0, 30] * 200), np.arange(400, 800))]
    [(1.0, 0.0)]
    """

    def __init__(self, delta: float = DELTA, kept: int = HITS_KEPT) -> None:
        self._delta = delta
        self._hits = np.zeros(kept, np.uint8)
        self._length = 0
        self._detector = ADWIN(delta=delta)
        self._drifts: deque[Json] = deque(maxlen=DRIFTS_KEPT)
        self.seen = 0
        self.found = 0

    @property
    def events(self) -> list[Json]:
        """The newest drifts, at most 100, oldest first: event time `at`, ms; ranked `event`; hit rate `before`, `after`."""
        return list(self._drifts)

    def add(self, ranks: NDArray[Any], timestamps: NDArray[Any]) -> list[Json]:
        """Take in R more ranked events; returns the drifts they showed.

        Args:
            ranks: int[R], rank of the target with the blend, 0: not ranked.
            timestamps: int64[R], event times, ms.
        """
        hits = ((ranks > 0) & (ranks <= HIT_RANK)).tolist()
        found = [drift for hit, at in zip(hits, timestamps.tolist(), strict=True) if (drift := self._take(int(hit), at))]
        self._drifts.extend(found)
        self.found += len(found)
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays, axis 0 = rows: the hits since the last cut, and the newest drifts."""
        drifts = np.zeros((DRIFTS_KEPT, len(_FIELDS)))
        for row, drift in enumerate(self._drifts):
            drifts[row] = [drift[name] for name in _FIELDS]
        counts = np.array([self._length, self.seen, len(self._drifts), self.found], np.int64)
        return {"hits": self._hits, "drifts": drifts, "counts": counts}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; the detector is built from its hits.

        Raises:
            ValueError: it is the state of a watch that keeps another number of hits; nothing was changed.
        """
        if state["hits"].shape != self._hits.shape:
            raise ValueError(f"a state of {len(state['hits'])} hits, this watch keeps {len(self._hits)}")
        self._hits = np.array(state["hits"], np.uint8)
        length, self.seen, drifts, self.found = state["counts"].tolist()
        rows = state["drifts"][:drifts].tolist()
        self._drifts = deque(
            ({"at": int(at), "event": int(event), "before": b, "after": a} for at, event, b, a in rows), DRIFTS_KEPT
        )
        self._rebuild(length)

    def _take(self, hit: int, at: int) -> Json | None:
        if self._length == len(self._hits):
            self._drop_older_half()
        self._hits[self._length] = hit
        self._length += 1
        self.seen += 1
        self._detector.update(hit)
        return self._cut(at) if self._detector.drift_detected else None

    def _cut(self, at: int) -> Json:
        before, after = split_means(self._hits[: self._length].astype(np.float64))
        self._rebuild(0)
        return {"at": at, "event": self.seen, "before": before, "after": after}

    def _drop_older_half(self) -> None:
        half = self._length // 2
        self._hits[: self._length - half] = self._hits[half : self._length]
        self._rebuild(self._length - half)

    def _rebuild(self, length: int) -> None:
        """The detector as the first `length` hits make it; those behind are forgotten."""
        self._hits[length:] = 0
        self._length, self._detector = length, ADWIN(delta=self._delta)
        for hit in self._hits[:length].tolist():
            self._detector.update(hit)


def split_means(values: NDArray[np.float64]) -> tuple[float, float]:
    """Means before and after the place that splits n >= 2 values best.

    The place s maximises |mean(0..s) - mean(s..n)| * (s * (n - s) / n)^1/2, the likelihood ratio of one change against none
    (Page, Biometrika 1954). ADWIN itself only tells that there is such a place: it drops its oldest bucket, not all before it.

    >>> split_means(np.array([1.0, 1.0, 1.0, 0.0, 0.0]))
    (1.0, 0.0)
    """
    n, sums = len(values), np.cumsum(values)
    sizes = np.arange(1, n)
    left, right = sums[:-1] / sizes, (sums[-1] - sums[:-1]) / (n - sizes)
    place = int(np.argmax(np.abs(left - right) * np.sqrt(sizes * (n - sizes))))
    return float(left[place]), float(right[place])
