"""What people of the same taste made of an item: sessions are alike if they were surprised by the same items in the same way."""

from __future__ import annotations

from typing import Final

import numpy as np

from batch.slates.columns import F64, I64

NAMES: Final = ("others", "others_mean")
_KEPT: Final = 256
_SHRUNK: Final = 10.0


class Neighbours:
    """Per item the residuals of the newest 256 sessions that were shown it.

    With r_si the residual of session s and item i, sessions u and s are alike by a_us = sum_j r_uj r_sj, and item i gets
    sum_s a_us r_si over the other sessions: the co-residuals of i with each remembered j, without a matrix of all pairs.
    """

    def __init__(self, items: int) -> None:
        self._sessions = np.zeros((items, _KEPT), np.int64)
        self._residuals = np.zeros((items, _KEPT))
        self._counts = np.zeros(items, np.int64)
        self._last_session = 0

    def learn(self, session: int, items: I64, residuals: F64) -> None:
        """Session's residuals of the items of one slate; above 256 sessions of an item the oldest goes."""
        places = self._counts[items] % _KEPT
        self._sessions[items, places] = session
        self._residuals[items, places] = residuals
        self._counts[items] += 1
        self._last_session = max(self._last_session, session)

    def features(self, session: int, remembered: I64, residuals: F64, items: I64) -> F64:
        """float64[n, 2]: the sum of the class's formula, and it over (sessions that were shown the item + 10)."""
        if not len(remembered):
            return np.zeros((len(items), len(NAMES)))
        used = min(int(self._counts.max()), _KEPT)
        shared = self._residuals[remembered, :used] * residuals[:, None]
        alike = np.bincount(self._sessions[remembered, :used].ravel(), shared.ravel(), max(self._last_session, session) + 1)
        alike[session] = 0.0  # remembered items were shown to this session too
        sums = (alike[self._sessions[items, :used]] * self._residuals[items, :used]).sum(axis=1)
        return np.stack([sums, sums / (self._counts[items] + _SHRUNK)], axis=1)
