"""How long a call takes, among others that take as long."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def milliseconds(step: Callable[[int], object], steps: int) -> float:
    """Median time of a step, told its number; the first is left out: it allocates or compiles."""
    step(0)
    times = []
    for n in range(1, steps):
        started = time.perf_counter()
        step(n)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))
