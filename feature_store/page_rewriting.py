"""Which stale pages a commit rewrites, so that no delta is needed for long and all deltas together stay small.

Every delta takes up a share of the room that there is: a `MOST_DELTAS`-th, or its bytes if they are more. A page that needs all
deltas from one commit on must be rewritten before their shares exceed 1. Pages are rewritten oldest first, at each commit just as
many as it takes to be done with every one in time if the deltas to come are as large as the newest: the work is spread evenly, and
a page that many commits touch is rewritten once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_DELTAS: Final = 64
_LEAST_ROOM: Final = 1 << 20


def room_for_deltas(state_bytes: int) -> int:
    """Bytes that all deltas may have together: half of what they are about, and a mebibyte for small states."""
    return max(_LEAST_ROOM, state_bytes // 2)


def rewritten_now(since: NDArray[np.uint32], deltas: Mapping[int, int], room: int) -> int:
    """How many of the stale pages are rewritten now, of the oldest.

    Args:
        since: uint32[pages], ascending: the oldest delta that each stale page needs.
        deltas: bytes of each delta by its commit, ascending, the newest of this commit.
        room: bytes that all deltas may have together.

    >>> rewritten_now(np.array([1, 1, 1, 1, 2], np.uint32), {1: 200, 2: 200}, 1000)
    1
    >>> rewritten_now(np.array([1, 1, 1, 1, 2], np.uint32), {1: 200, 2: 200}, 450)
    4
    """
    if not len(since):
        return 0
    shares = np.array([max(1 / MOST_DELTAS, size / room) for size in deltas.values()])
    behind = np.append(np.cumsum(shares[::-1])[::-1], 0.0)  # of each delta and all later ones
    used = behind[np.searchsorted(np.fromiter(deltas, np.int64), since)]
    commits_left = np.maximum(1, 1 + np.floor((1 - used) / shares[-1] + 1e-9))
    return int((np.arange(1, len(since) + 1) // commits_left).max())
