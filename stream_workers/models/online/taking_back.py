"""Takes back what one person's events added to the counts of items: popularity (of everybody, and of people like them),
co-visitation, the chains of the event log.

What an event added is known: forward decay is a function of its time alone, and the pairs follow from the history that its user had
at that moment, which the log still tells. So each event that the log holds is subtracted again and its place in the log blanked.
What cannot be told apart stays: what item vectors, factors, the blend and its calibration learnt, a neighbour that was pushed
out of a full list, and events that the log has overwritten.
"""

from __future__ import annotations

import numpy as np

from stream_workers.models.online.audience import take_audience
from stream_workers.models.online.co_visitation import CoVisitation
from stream_workers.models.online.event_log import EventLog, history_before, oldest
from stream_workers.models.online.numeric import F32, F64, I32, kernel, less, weight_at
from stream_workers.models.online.popularity import Popularity
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.world import World

_RESIDUE = 1e-4  # float32 weights that were scaled now and then: a smaller share than this is what rounding left


@kernel
def take_back_events(
    world: World, numbers: Numbers, half_lives: F64, user: int, items: I32, times: F64, liked: F32, taken: I32
) -> int:
    """Subtract the events of a user that the log holds, newest first, and blank them; call before the user's chain is cut.

    Args:
        half_lives: float64[H], ms. items, times, liked: scratch for a history, as long as the one the models learn with.
        taken: int32[events of the user with weight > 0], filled with their items as far as the log holds them.

    Returns:
        How many items `taken` holds; an item may stand in it several times.
    """
    log = world.log
    first, mask, count = oldest(log), log.item.shape[0] - 1, 0
    e = log.user_last[user]
    while e >= first:
        at = e & mask
        item, time, before = log.item[at], log.time[at], log.prev_user[at]
        if item >= 0 and log.weight[at] > 0:
            found = history_before(log, before, items, times, liked)
            for pairs, half_life in ((world.pairs, numbers.covisit_half_life), (world.pairs_fast, numbers.covisit_fast_half_life)):
                _unpair(
                    pairs, items[:found], liked[:found], item, time, half_life, numbers.covisit_depth, numbers.covisit_decay,
                    numbers.covisit_back,
                )  # fmt: skip
            _take_popularity(world.popularity, half_lives, item, time)
            take_audience(world.audience, found, time - times[0], item, time)
            _unlink(log, e, item)
            taken[count] = item
            count += 1
        e = before
    e = log.user_last[user]
    while e >= first:  # not before: the history of a later event needs the earlier ones
        log.item[e & mask] = -1
        e = log.prev_user[e & mask]
    return count


@kernel
def _take_popularity(pop: Popularity, half_lives: F64, item: int, time: float) -> None:
    for h in range(half_lives.shape[0] + 1):
        gain = weight_at(time, pop.landmarks[h], half_lives[h]) if h < half_lives.shape[0] else 1.0
        pop.values[h, item] = less(pop.values[h, item], gain)
        pop.sums[h] = max(0.0, pop.sums[h] - gain)


@kernel
def _unpair(
    cov: CoVisitation, history: I32, liked: F32, item: int, time: float, half_life: float, depth: int, decay: float, back: float
) -> None:
    """The inverse of `learn_co_visitation`."""
    gain = weight_at(time, cov.landmarks[0], half_life)
    cov.mass[item] = less(cov.mass[item], gain)
    share = 1.0
    for k in range(min(depth, history.shape[0])):
        if history[k] != item and liked[k] > 0:
            _subtract(cov, history[k], item, gain * share)
            _subtract(cov, item, history[k], gain * share * back)
        share *= decay


@kernel
def _subtract(cov: CoVisitation, row: int, other: int, gain: float) -> None:
    """Make a neighbour weaker, or remove it where nothing is left of it; one that is not in the list was pushed out."""
    filled = cov.filled[row]
    for place in range(filled):
        if cov.neighbours[row, place] != other:
            continue
        left = cov.weights[row, place] - np.float32(gain)
        if left > _RESIDUE * cov.weights[row, place]:
            cov.weights[row, place] = left
            return
        for p in range(place, filled - 1):
            cov.neighbours[row, p], cov.weights[row, p] = cov.neighbours[row, p + 1], cov.weights[row, p + 1]
        cov.neighbours[row, filled - 1], cov.weights[row, filled - 1] = 0, np.float32(0.0)
        cov.filled[row] = filled - 1
        return


@kernel
def _unlink(log: EventLog, e: int, item: int) -> None:
    """Take an event out of the chain of its item, which then counts, begins and ends without it."""
    first, mask = oldest(log), log.item.shape[0] - 1
    before = log.prev_item[e & mask]
    if log.item_last[item] == e:
        log.item_last[item] = before
    else:
        after = log.item_last[item]
        while after >= first and log.prev_item[after & mask] != e:
            after = log.prev_item[after & mask]
        if after >= first:
            log.prev_item[after & mask] = before
    log.prev_item[e & mask] = -1
    log.item_events[item] = max(0, log.item_events[item] - 1)
    _set_span(log, item, log.time[e & mask])


@kernel
def _set_span(log: EventLog, item: int, gone: float) -> None:
    """First and latest time of an item after an event at `gone` was taken out, from what the log still holds."""
    first, mask = oldest(log), log.item.shape[0] - 1
    if gone != log.item_first[item] and gone != log.item_latest[item]:
        return
    earliest, latest = 0.0, 0.0
    e = log.item_last[item]
    while e >= first:
        earliest, latest = log.time[e & mask], max(latest, log.time[e & mask])
        e = log.prev_item[e & mask]
    if gone == log.item_first[item]:
        log.item_first[item] = earliest
    if gone == log.item_latest[item]:
        log.item_latest[item] = latest
