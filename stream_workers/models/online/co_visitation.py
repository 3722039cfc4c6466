"""Co-visitation: what is taken after what, decayed by event time, bounded per item.

On event (u, i) with u's last items a_k (k = 0 newest): C[a_k, i] += rho^k * g, C[i, a_k] += back * rho^k * g, g = forward decay.
Score: sum_k rho'^k * C[a_k, j] * (N[a_k] + c0)^-a * (N[j] + c0)^-b, N the decayed count of events. Item-to-item collaborative
filtering after Linden, Smith & York (2003); decay and recency weighting as in session-based variants (Ludewig & Jannach, 2018).
A full row gives up its weakest neighbour when a new pair comes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_workers.models.online.numeric import F32, F64, I32, grown, kernel


class CoVisitation(NamedTuple):
    """I items, N neighbours each.

    Attributes:
        neighbours: int32[I, N], codes. weights: float32[I, N]. filled: int32[I], places in use.
        mass: float32[I], decayed count of events, in the unit of the weights.
        landmarks: float64[2], of weights and of mass (kept equal), see `grown`.
    """

    neighbours: I32
    weights: F32
    filled: I32
    mass: F32
    landmarks: F64


@kernel
def _add(cov: CoVisitation, row: int, other: int, gain: float) -> None:
    filled = cov.filled[row]
    weakest = 0
    for place in range(filled):
        if cov.neighbours[row, place] == other:
            cov.weights[row, place] += np.float32(gain)
            return
    if filled < cov.neighbours.shape[1]:
        weakest = filled
        cov.filled[row] = filled + 1
    else:
        for place in range(1, filled):
            if cov.weights[row, place] < cov.weights[row, weakest]:
                weakest = place
        if cov.weights[row, weakest] > gain:
            return
    cov.neighbours[row, weakest] = other
    cov.weights[row, weakest] = np.float32(gain)


@kernel
def learn_co_visitation(
    cov: CoVisitation, history: I32, liked: F32, item: int, time: float, half_life: float, depth: int, decay: float, back: float
) -> None:
    """One event about `item` by somebody with this history (newest first; items with `liked` <= 0 make no pair)."""
    gain = grown(time, cov.landmarks[0:1], half_life, cov.weights)
    grown(time, cov.landmarks[1:2], half_life, cov.mass)  # the same number, and the same steps
    cov.mass[item] += np.float32(gain)
    share = 1.0
    for k in range(min(depth, history.shape[0])):
        if history[k] != item and liked[k] > 0:
            _add(cov, history[k], item, gain * share)
            _add(cov, item, history[k], gain * share * back)
        share *= decay


@kernel
def score_co_visitation(
    cov: CoVisitation, history: I32, liked: F32, unit: float, depth: int, decay: float, power_from: float, power_to: float, out: F32
) -> float:
    """Add scores to float32[n].

    Args:
        unit: the weight of an event now, so that scores are in decayed counts. depth: history items used.

    Returns:
        The largest score.
    """
    smooth = 1.0
    largest = np.float32(0.0)
    scale = 1.0 / max(unit, 1e-300)
    share = 1.0
    for k in range(min(depth, history.shape[0])):
        a = history[k]
        factor = np.float32(share * scale * (cov.mass[a] * scale + smooth) ** -power_from * (1.0 if liked[k] > 0 else -0.5))
        for place in range(cov.filled[a]):
            j = cov.neighbours[a, place]
            gain = factor * cov.weights[a, place]
            if power_to > 0:
                gain *= np.float32((cov.mass[j] * scale + smooth) ** -power_to)
            out[j] += gain
            largest = max(largest, out[j])
        share *= decay
    return float(largest)


def new_co_visitation(items: int, neighbours: int) -> CoVisitation:
    """No pair yet."""
    return CoVisitation(
        neighbours=np.zeros((items, neighbours), np.int32),
        weights=np.zeros((items, neighbours), np.float32),
        filled=np.zeros(items, np.int32),
        mass=np.zeros(items, np.float32),
        landmarks=np.full(2, np.nan),
    )
