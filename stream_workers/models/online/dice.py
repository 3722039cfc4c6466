"""Random numbers whose state is a row of the model's arrays: a restart continues the same sequence (xorshift64*, Vigna 2016)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.event_log import EventLog, oldest
from stream_workers.models.online.numeric import F32, I32, kernel

U64 = NDArray[np.uint64]


@kernel
def uniform(dice: U64) -> float:
    """A number in [0, 1).

    Args:
        dice: uint64[1], not zero; changed in place.
    """
    x = dice[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    dice[0] = x
    return float((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(11)) / 9007199254740992.0


@kernel
def start_vector(seed: int, code: int, scale: float, row: F32) -> None:
    """Fill a new row with numbers in [-scale, scale) that depend on nothing but seed and code."""
    dice = np.empty(1, np.uint64)
    dice[0] = (np.uint64(code) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) ^ (np.uint64(seed) << np.uint64(17)) | np.uint64(1)
    uniform(dice)
    for i in range(row.shape[0]):
        row[i] = np.float32((2.0 * uniform(dice) - 1.0) * scale)


@kernel
def draw_negatives(
    log: EventLog, newest: int, items: int, target: int, window: int, recent_share: float, dice: U64, out: I32
) -> int:
    """Items that the user could have taken at this moment but did not: some from the newest events, the others from all items.

    Args:
        newest: number of events at that moment. items: item count. target: never drawn.
        window: how many of the newest events count as the moment.
        out: int32[count], filled as far as draws did not hit the target.

    Returns:
        How many were drawn.
    """
    drawn = 0
    mask = log.item.shape[0] - 1
    reach = min(window, newest - oldest(log))
    if items == 0:
        return 0
    for k in range(out.shape[0]):
        if reach > 0 and k < recent_share * out.shape[0]:
            item = log.item[(newest - 1 - int(uniform(dice) * reach)) & mask]
        else:
            item = int(uniform(dice) * items)
        if item >= 0 and item != target:  # -1: forgotten
            out[drawn] = item
            drawn += 1
    return drawn
