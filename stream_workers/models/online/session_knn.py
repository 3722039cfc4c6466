"""Session-kNN: people who took the same items lately vote with what they took around them (VMIS-kNN, Kersbergen et al., 2022).

For the user's last items a_k, the newest M events about a_k are found by the log's item chain; each user v there gets
rho^k / log(2 + occurrences(a_k)) / (1 + age / tau). The best K users vote for the items up to W events before and after the match,
at distance d: sim(v) * exp(-d / lambda), backward ones times `back`. Nothing is learnt: the index is the log itself, so memory is
bounded by the log and what is overwritten is forgotten.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_workers.models.online.event_log import EventLog, oldest
from stream_workers.models.online.numeric import F32, I32, I64, kernel


class KnnScratch(NamedTuple):
    """Working memory, meaningless between calls, for U users, M events about each of K items.

    Attributes:
        similarity: float32[U], all zero between calls. match: int64[U], event by which a user was found.
        touched: int32[K M], users found. seen: int64[K, M], events about each item; looked: int64[K], how many.
        cursors: int64[K M], votes: float32[K M]: where each chain has been followed to, and what it votes there.
        voted: int32[2 K M W], items that the last question's votes went to, several times too; voted_count: int64[1].
    """

    similarity: F32
    match: I64
    touched: I32
    seen: I64
    looked: I64
    cursors: I64
    votes: F32
    voted: I32
    voted_count: I64


@kernel
def score_session_knn(
    log: EventLog,
    scratch: KnnScratch,
    user: int,
    history: I32,
    liked: F32,
    now: float,
    depth: int,
    occurrences: int,
    neighbours: int,
    window: int,
    decay: float,
    tau: float,
    distance: float,
    back: float,
    out: F32,
) -> float:
    """Add scores to float32[n]; `tau` in ms, the other names as in the module.

    Returns:
        The largest score.
    """  # fmt: skip
    found = _neighbours(log, scratch, user, history, liked, now, depth, occurrences, decay, tau)
    threshold = _kth_largest(scratch.similarity, scratch.touched, found, neighbours)
    scratch.voted_count[0] = 0
    forward = _vote(log, scratch, found, threshold, log.next_user, 1.0, window, distance, out)
    backward = _vote(log, scratch, found, threshold, log.prev_user, back, window, distance, out)
    for k in range(found):
        scratch.similarity[scratch.touched[k]] = 0.0
    return max(forward, backward)


@kernel
def _neighbours(
    log: EventLog,
    scratch: KnnScratch,
    user: int,
    history: I32,
    liked: F32,
    now: float,
    depth: int,
    occurrences: int,
    decay: float,
    tau: float,
) -> int:
    """Fill `scratch` with who took the same items; how many they are."""  # fmt: skip
    mask = log.item.shape[0] - 1
    similarity, match, touched = scratch.similarity, scratch.match, scratch.touched
    items = min(depth, history.shape[0], scratch.seen.shape[0])
    _follow_items(log, scratch, history[:items], liked, occurrences)
    found = 0
    share = 1.0
    for k in range(items):
        rarity = share / np.log(2.0 + log.item_events[history[k]])
        for n in range(scratch.looked[k]):
            e = scratch.seen[k, n]
            at = e & mask
            v = log.user[at]
            if v >= 0 and v != user:
                if similarity[v] == 0.0:
                    touched[found] = v
                    found += 1
                    match[v] = e
                similarity[v] += np.float32(rarity / (1.0 + max(0.0, now - log.time[at]) / tau))
        share *= decay
    return found


@kernel
def _follow_items(log: EventLog, scratch: KnnScratch, history: I32, liked: F32, occurrences: int) -> None:
    """Fill `scratch.seen` with the newest events about each item of the history.

    All chains are followed side by side: each step of one waits for memory, and so they wait together.
    """
    mask, first = log.item.shape[0] - 1, oldest(log)
    cursors, looked = scratch.cursors, scratch.looked
    for k in range(history.shape[0]):
        cursors[k] = log.item_last[history[k]] if liked[k] > 0 else -1
        looked[k] = 0
    for n in range(min(occurrences, scratch.seen.shape[1])):
        alive = False
        for k in range(history.shape[0]):
            e = cursors[k]
            if e >= first:
                scratch.seen[k, n] = e
                looked[k] = n + 1
                cursors[k] = log.prev_item[e & mask]
                alive = True
        if not alive:
            break


@kernel
def _vote(
    log: EventLog,
    scratch: KnnScratch,
    found: int,
    threshold: float,
    chain: I64,
    weight: float,
    window: int,
    distance: float,
    out: F32,
) -> float:
    """Add the votes of all neighbours along `chain` (next or previous events of each); the largest score that came of it."""
    mask, first = log.item.shape[0] - 1, oldest(log)
    items, weights = log.item, log.weight
    cursors, votes = scratch.cursors, scratch.votes
    step = np.float32(np.exp(-1.0 / distance))
    voters = 0
    for k in range(found):
        v = scratch.touched[k]
        if scratch.similarity[v] >= threshold:
            cursors[voters] = chain[scratch.match[v] & mask]
            votes[voters] = scratch.similarity[v] * np.float32(weight)
            voters += 1
    largest, count = np.float32(0.0), scratch.voted_count[0]
    for _ in range(window):  # side by side, see `_follow_items`
        for k in range(voters):
            e = cursors[k]
            if e < first:
                continue
            votes[k] *= step
            at = e & mask
            if weights[at] > 0 and items[at] >= 0:
                out[items[at]] += votes[k]
                largest = max(largest, out[items[at]])
                scratch.voted[count] = items[at]
                count += 1
            cursors[k] = chain[at]
    scratch.voted_count[0] = count
    return float(largest)


@kernel
def _kth_largest(similarity: F32, touched: I32, found: int, k: int) -> float:
    """A threshold that at least k of the touched users reach, and hardly more: two rounds of 64 bins."""
    if found <= k:
        return 0.0
    low, high = 0.0, 0.0
    for i in range(found):
        high = max(high, float(similarity[touched[i]]))
    high *= 1.000001
    bins = np.zeros(64, np.int64)
    above = 0
    for _ in range(2):
        width = (high - low) / 64.0
        if width <= 0.0:
            break
        bins[:] = 0
        for i in range(found):
            s = float(similarity[touched[i]])
            if low <= s < high:
                bins[min(63, int((s - low) / width))] += 1
        chosen = 63
        while chosen > 0 and above + bins[chosen] < k:
            above += bins[chosen]
            chosen -= 1
        low, high = low + chosen * width, low + (chosen + 1) * width
    return low


def new_knn_scratch(users: int, depth: int, occurrences: int, window: int) -> KnnScratch:
    """Room for so many users, items of a history, events about each, and votes of each neighbour in either direction."""
    candidates = depth * occurrences
    return KnnScratch(
        similarity=np.zeros(users, np.float32),
        match=np.zeros(users, np.int64),
        touched=np.zeros(candidates, np.int32),
        seen=np.zeros((depth, occurrences), np.int64),
        looked=np.zeros(depth, np.int64),
        cursors=np.zeros(candidates, np.int64),
        votes=np.zeros(candidates, np.float32),
        voted=np.zeros(2 * candidates * window, np.int32),
        voted_count=np.zeros(1, np.int64),
    )
