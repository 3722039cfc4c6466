"""What each event of a log came after: the same user's items before it, as the scorers see them when they serve."""

from __future__ import annotations

import numpy as np

from batch.datasets.interactions import I64, InteractionLog
from stream_workers.models.deep.recent import NOTHING, Recent, log_hours


def prefixes(log: InteractionLog, longest: int) -> Recent:
    """For each of the N events the same user's newest `longest` items before it, newest first: point in time.

    Events of one user at one moment keep the log's order. Weights are ratings, 1 where there is none.
    """
    order = np.argsort(log.users, kind="stable")
    users = log.users[order]
    place = np.arange(log.size) - np.searchsorted(users, users)  # how many events the user had before
    shape = (log.size, longest)
    found = Recent(np.full(shape, NOTHING, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    ratings = np.nan_to_num(log.ratings, nan=1.0)
    for back in range(1, longest + 1):
        event = order[place >= back]
        before = order[np.flatnonzero(place >= back) - back]
        found.items[event, back - 1] = log.items[before]
        found.gaps[event, back - 1] = log_hours(log.timestamps[event] - log.timestamps[before])
        found.weights[event, back - 1] = ratings[before]
    return found


def picked(found: Recent, rows: I64) -> Recent:
    """Some of the rows."""
    return Recent(found.items[rows], found.gaps[rows], found.weights[rows])
