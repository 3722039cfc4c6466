"""How often an item was taken beside how often the blend expected it: what all other features missed, item by item.

ratio(j) = (taken_j + 1) / (expected_j + 1),  expected_j: sum of the blend's probabilities of j over the pools it learnt from.

Both are halved when one of them passes `_MEMORY`, so that an item whose time has passed is soon known for it. The probabilities
are those of before the event was learnt: what the ratio corrects is what the blend got wrong, not what it learnt since.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.numeric import F32, I32, kernel

_MEMORY: Final = np.float32(20.0)


class Calibration(NamedTuple):
    """taken, expected: float32[I]."""

    taken: F32
    expected: F32


@kernel
def learn_calibration(calibration: Calibration, pool: I32, errors: F32, target: int) -> None:
    """One pool, int32[P], of which the candidate at `target` was taken. errors: float32[P], see `blend.softmax_errors`."""
    taken, expected = calibration.taken, calibration.expected
    taken[pool[target]] += np.float32(1.0)
    expected[pool[target]] += np.float32(1.0)  # its error is its probability minus one
    for p in range(pool.shape[0]):
        j = pool[p]
        expected[j] = max(expected[j] + errors[p], np.float32(0.0))
        if max(taken[j], expected[j]) > _MEMORY:
            taken[j] *= np.float32(0.5)
            expected[j] *= np.float32(0.5)


@kernel
def calibration_ratios(calibration: Calibration, pool: I32, out: F32) -> None:
    """Set out: float32[P] to the ratio of each candidate, pool: int32[P]."""
    for p in range(pool.shape[0]):
        out[p] = (calibration.taken[pool[p]] + np.float32(1.0)) / (calibration.expected[pool[p]] + np.float32(1.0))


def new_calibration(items: int) -> Calibration:
    """Nothing was expected."""
    return Calibration(np.zeros(items, np.float32), np.zeros(items, np.float32))
