"""What happened, newest last: a ring of events, chained by user and by item. Every model reads histories from it.

An event is an absolute number e = 0, 1, 2, ...; it lives at place e mod capacity until it is overwritten. Chains are absolute
numbers too, so an overwritten event is recognised by e < total - capacity and memory stays bounded whatever comes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_workers.models.online.numeric import F32, F64, I32, I64, kernel

NOBODY = -1


class EventLog(NamedTuple):
    """L places, U users, I items; L is a power of two.

    Attributes:
        item, user: int32[L], codes; -1 where it was forgotten (see `compaction`). time: float64[L], event time in ms.
        weight: float32[L]; > 0 for the item, < 0 against it, 0 takes an earlier event back.
        log_prior: float32[L], of the item at that moment, see `popularity.priors`.
        prev_user, next_user, prev_item: int64[L], chains; -1 at their ends.
        total: int64[1], events so far.
        user_last, item_last: int64[U], int64[I], newest event; -1 none.
        user_events, item_events: int32[U], int32[I], how many with weight > 0.
        item_first, item_latest: float64[I], ms.
    """

    item: I32
    user: I32
    time: F64
    weight: F32
    log_prior: F32
    prev_user: I64
    next_user: I64
    prev_item: I64
    total: I64
    user_last: I64
    item_last: I64
    user_events: I32
    item_events: I32
    item_first: F64
    item_latest: F64


@kernel
def oldest(log: EventLog) -> int:
    """Number of the oldest event that is still there."""
    return max(0, log.total[0] - log.item.shape[0])


@kernel
def append(log: EventLog, user: int, item: int, time: float, weight: float, log_prior: float) -> None:
    """Add one event."""
    e = log.total[0]
    mask = log.item.shape[0] - 1
    at = e & mask
    first = oldest(log)
    log.item[at], log.user[at], log.time[at], log.weight[at] = item, user, time, weight
    log.log_prior[at] = log_prior
    before = log.user_last[user]
    log.prev_user[at] = before
    log.next_user[at] = -1
    if before >= first:
        log.next_user[before & mask] = e
    log.user_last[user] = e
    log.total[0] = e + 1
    if weight <= 0:
        log.prev_item[at] = -1
        return
    log.prev_item[at] = log.item_last[item]
    log.item_last[item] = e
    if log.item_events[item] == 0:
        log.item_first[item] = time
    log.item_latest[item] = max(log.item_latest[item], time)
    log.user_events[user] += 1
    log.item_events[item] += 1


@kernel
def history_before(log: EventLog, newest: int, items: I32, times: F64, weights: F32) -> int:
    """The last different items of the user of event `newest`, that event included, newest first.

    Only the newest event of each item counts: a later event replaces an earlier one, an undo (weight 0) removes it.

    Args:
        newest: number of the event to begin with; -1: none.
        items, times, weights: filled; their length is how many are wanted.

    Returns:
        How many were found.
    """
    mask = log.item.shape[0] - 1
    first = oldest(log)
    found, looked = 0, 0
    depth = items.shape[0]
    undone = 0  # places at the end of `items` note what must not come again
    e = newest
    while e >= first and found + undone < depth and looked < 4 * depth:
        at = e & mask
        looked += 1
        item = log.item[at]
        again = item < 0
        for k in range(found):
            if items[k] == item:
                again = True
                break
        for k in range(undone):
            if items[depth - 1 - k] == item:
                again = True
                break
        if not again:
            if log.weight[at] == 0:
                undone += 1
                items[depth - undone] = item
            else:
                items[found], times[found], weights[found] = item, log.time[at], log.weight[at]
                found += 1
        e = log.prev_user[at]
    return found


@kernel
def mark_taken(log: EventLog, user: int, limit: int, repeats: bool, stamp: int, marks: I64, taken: I32) -> int:
    """Stamp what must not be shown to the user: what they had, or (repeats allowed) only what they are against.

    Args:
        limit: how many of their events are looked at, at most.
        repeats: whether an item may be shown again.
        marks: int64[I], set to `stamp` for those items, to -`stamp` for others that were looked at.
        taken: int32[I], filled with those items.

    Returns:
        How many there are.
    """
    if user < 0:
        return 0
    mask = log.item.shape[0] - 1
    first = oldest(log)
    count = 0
    e = log.user_last[user]
    while e >= first and limit > 0:
        at = e & mask
        item = log.item[at]
        if item >= 0 and marks[item] != stamp and marks[item] != -stamp:
            if log.weight[at] < 0 or (log.weight[at] > 0 and not repeats):
                marks[item] = stamp
                taken[count] = item
                count += 1
            else:
                marks[item] = -stamp
        e = log.prev_user[at]
        limit -= 1
    return count


def new_log(capacity: int, users: int, items: int) -> EventLog:
    """An empty log.

    Args:
        capacity: a power of two.
    """
    return EventLog(
        item=np.zeros(capacity, np.int32),
        user=np.zeros(capacity, np.int32),
        time=np.zeros(capacity, np.float64),
        weight=np.zeros(capacity, np.float32),
        log_prior=np.zeros(capacity, np.float32),
        prev_user=np.full(capacity, -1, np.int64),
        next_user=np.full(capacity, -1, np.int64),
        prev_item=np.full(capacity, -1, np.int64),
        total=np.zeros(1, np.int64),
        user_last=np.full(users, -1, np.int64),
        item_last=np.full(items, -1, np.int64),
        user_events=np.zeros(users, np.int32),
        item_events=np.zeros(items, np.int32),
        item_first=np.zeros(items, np.float64),
        item_latest=np.zeros(items, np.float64),
    )
