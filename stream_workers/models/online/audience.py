"""What people like this one take at the moment: decayed counts of each item by group of people.

A(j, g) = sum over events e of item j by somebody in group g: 2^(-(t - t_e) / H), forward decay (see `numeric.grown`), H four days.

Everybody is in two groups at an event, by how many events they had before (none, 1-2, 3-14, 15 or more) and by how long before it
their last one was (no event, half an hour, a day, longer). Newcomers, who bring no history that a model could use, take other items
than regulars; those who take many items in a row look back, and those who come once a week take what is new.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.blend import BUCKETS, bucket_of
from stream_workers.models.online.numeric import F32, F64, I32, grown, kernel, less, weight_at

PACES: Final = 4
GROUPS: Final = BUCKETS + PACES
_HALF_LIFE: Final = 4 * 86_400_000.0
_IN_A_ROW: Final = 30 * 60_000.0
_SAME_DAY: Final = 86_400_000.0


class Audience(NamedTuple):
    """values: float32[I, GROUPS], in the unit of the landmark; landmark: float64[1], see `grown`."""

    values: F32
    landmark: F64


@kernel
def pace_of(history: int, idle: float) -> int:
    """Group by the time since the last event, ms; `history`: events before."""
    if history == 0:
        return BUCKETS
    return BUCKETS + (1 if idle < _IN_A_ROW else 2 if idle < _SAME_DAY else 3)


@kernel
def learn_audience(audience: Audience, history: int, idle: float, item: int, time: float) -> None:
    """One event at `time`, ms, by somebody with so many events before, the last one `idle` ms ago."""
    gain = np.float32(grown(time, audience.landmark, _HALF_LIFE, audience.values))
    audience.values[item, bucket_of(history)] += gain
    audience.values[item, pace_of(history, idle)] += gain


@kernel
def take_audience(audience: Audience, history: int, idle: float, item: int, time: float) -> None:
    """The inverse of `learn_audience`."""
    gain = weight_at(time, audience.landmark[0], _HALF_LIFE)
    for group in (bucket_of(history), pace_of(history, idle)):
        audience.values[item, group] = less(audience.values[item, group], gain)


@kernel
def audience_counts(audience: Audience, group: int, now: float, pool: I32, out: F32) -> None:
    """Set out: float32[P] to A(j, group) of each candidate, pool: int32[P]."""
    exponent = (now - audience.landmark[0]) / _HALF_LIFE
    scale = np.float32(1.0 if np.isnan(exponent) else 2.0 ** -min(max(exponent, 0.0), 1000.0))
    for p in range(pool.shape[0]):
        out[p] = scale * audience.values[pool[p], group]


def new_audience(items: int) -> Audience:
    """Nobody has taken anything."""
    return Audience(np.zeros((items, GROUPS), np.float32), np.full(1, np.nan))
