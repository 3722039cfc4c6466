"""Decayed popularity at several half-lives at once, and of all time.

pop_H(j, t) = sum over events e of item j: weight_e * 2^(-(t - t_e) / H), kept as forward decay (see `numeric.grown`): an event
changes one number per half-life, the order of items needs no other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_workers.models.online.numeric import F32, F64, I64, grown, kernel


class Popularity(NamedTuple):
    """I items, H half-lives; row H is the count of all time.

    Attributes:
        values: float32[H + 1, I], each row in its own unit. unit: float64[H + 1], what one event adds now.
        sums: float64[H + 1], of the rows.
        landmarks: float64[H + 1], see `grown`. newest: float64[1], ms.
        merit: float64[H + 1], decayed reciprocal ranks that each half-life gave to what was taken.
    """

    values: F32
    unit: F64
    sums: F64
    landmarks: F64
    newest: F64
    merit: F64


_FORGET_MERIT = 0.999


@kernel
def learn_popularity(pop: Popularity, half_lives: F64, item: int, time: float, weight: float) -> None:
    """One event. `half_lives`: float64[H], ms."""
    for h in range(half_lives.shape[0]):
        before = pop.landmarks[h]
        gain = grown(time, pop.landmarks[h : h + 1], half_lives[h], pop.values[h])
        if pop.landmarks[h] != before:
            pop.sums[h] = pop.values[h].sum()
        pop.values[h, item] += np.float32(gain * weight)
        pop.sums[h] += gain * weight
    pop.newest[0] = max(pop.newest[0], time)
    pop.values[half_lives.shape[0], item] += np.float32(1.0)
    pop.sums[half_lives.shape[0]] += 1.0


@kernel
def units_at(pop: Popularity, half_lives: F64, time: float) -> None:
    """Set `pop.unit` to what an event at this time would add: dividing by it gives decayed counts."""
    for h in range(half_lives.shape[0]):
        exponent = (time - pop.landmarks[h]) / half_lives[h]
        pop.unit[h] = 2.0 ** min(max(exponent, -100.0), 1000.0) if not np.isnan(exponent) else 1.0
    pop.unit[half_lives.shape[0]] = 1.0


@kernel
def judge_half_lives(pop: Popularity, ranks: I64) -> None:
    """Remember which half-life was right. `ranks`: int64[H + 1], of the item that was taken."""
    for h in range(ranks.shape[0]):
        pop.merit[h] = _FORGET_MERIT * pop.merit[h] + 1.0 / (10.0 + ranks[h])


@kernel
def leading_half_life(pop: Popularity) -> int:
    """The decayed row that has been right most: row of `values`, never the one of all time."""
    best = 0
    for h in range(pop.merit.shape[0] - 1):
        if pop.merit[h] > pop.merit[best]:
            best = h
    return best


@kernel
def priors(pop: Popularity, row: int, out: F32) -> None:
    """prior_j = 0.5 * pop_j / sum + 0.5 / n for float32[n] items: how likely an event is about j, whoever the user is."""
    n = out.shape[0]
    scale = np.float32(0.5 / max(pop.sums[row], 1e-30))
    base = np.float32(0.5 / n)
    values = pop.values[row]
    for j in range(n):
        out[j] = scale * values[j] + base


def new_popularity(half_lives: int, items: int) -> Popularity:
    """Nothing is popular yet; before anything is known the middle half-life leads."""
    merit = np.zeros(half_lives + 1)
    merit[half_lives // 2] = 1e-6
    return Popularity(
        values=np.zeros((half_lives + 1, items), np.float32),
        unit=np.ones(half_lives + 1),
        sums=np.zeros(half_lives + 1),
        landmarks=np.full(half_lives + 1, np.nan),
        newest=np.zeros(1),
        merit=merit,
    )
