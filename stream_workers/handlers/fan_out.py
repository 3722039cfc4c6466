"""Splits what a batch of events means for items into one message per item partition and source topic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_workers.handlers.interner import Interner
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.signals import NOT_OWNED, Signals, encode_signals

I64 = NDArray[np.int64]

# Bounds a message: 2,000 events make at most 40,000 pairs, 0.7 MB with short ids and 7 MB with the longest ones.
EVENTS_PER_MESSAGE: Final = 2000


class SourceEvents(NamedTuple):
    """E events as columns: int64[E] each, `items` as indices of the interner, and the topic of each."""

    items: I64
    types: I64
    timestamps: I64
    offsets: I64
    appended: I64
    topics: list[str]


def events_only(events: SourceEvents, kept: NDArray[np.bool_]) -> SourceEvents:
    """The events where `kept`: bool[E]."""
    topics = [topic for topic, is_kept in zip(events.topics, kept.tolist(), strict=True) if is_kept]
    return SourceEvents(
        events.items[kept], events.types[kept], events.timestamps[kept], events.offsets[kept], events.appended[kept], topics
    )


class Pairs(NamedTuple):
    """P pairs: index of the event, history item, weight (see `models.history`)."""

    events: I64
    items: I64
    weights: NDArray[np.float64]


class _Rows(NamedTuple):
    """Neighbour-list updates: event, item whose list grows, neighbour, weight."""

    events: I64
    rows: I64
    others: I64
    weights: NDArray[np.float64]


def fan_out(
    partition: int, events: SourceEvents, pairs: Pairs, items: Interner, settings: ModelSettings
) -> list[list[tuple[int, bytes]]]:
    """Messages for `item-signals`, (target partition, value), in waves: each wave must be acknowledged before the next is sent.

    Within a wave there is at most one message for each source topic and target. If an earlier message were lost and a later one
    not, the item stage would take the events of the earlier one, when they come again, for known.

    Args:
        partition: source partition of the events.
        events: in the order in which they were applied.
        pairs: what `update_histories` returned for them.
        items: interner of all item indices.
        settings: for the weight of backward pairs and the partition count.
    """
    waves: list[list[tuple[int, bytes]]] = []
    new_items = events.items[pairs.events]
    both = np.concatenate((pairs.events, pairs.events))
    in_order = np.argsort(both, kind="stable")  # so that it does not matter where batches are cut
    rows = _Rows(
        both[in_order],
        np.concatenate((pairs.items, new_items))[in_order],
        np.concatenate((new_items, pairs.items))[in_order],
        np.concatenate((pairs.weights, settings.backward * pairs.weights))[in_order],
    )
    for wave, topic, chosen in _chunks(events.topics):
        if wave == len(waves):
            waves.append([])
        within = np.zeros(len(events.items), bool)
        within[chosen] = True
        mask = within[rows.events]
        mine = _Rows(rows.events[mask], rows.rows[mask], rows.others[mask], rows.weights[mask])
        for target in range(settings.partitions):
            value = _message((topic, partition), target, chosen, events, mine, items)
            if value is not None:
                waves[wave].append((target, value))
    return waves


def _chunks(topics: list[str]) -> Iterator[tuple[int, str, I64]]:
    """Number, topic and event indices of each chunk: the first chunk of every topic, then the second ones, and so on."""
    by_topic: dict[str, list[int]] = {}
    for e, topic in enumerate(topics):
        by_topic.setdefault(topic, []).append(e)
    longest = max(map(len, by_topic.values()), default=0)
    for wave, start in enumerate(range(0, longest, EVENTS_PER_MESSAGE)):
        for topic, chosen in by_topic.items():
            if start < len(chosen):
                yield wave, topic, np.array(chosen[start : start + EVENTS_PER_MESSAGE], np.int64)


def _message(source: tuple[str, int], target: int, chosen: I64, events: SourceEvents, rows: _Rows, items: Interner) -> bytes | None:
    """What the chosen events mean for the items of one partition; None if nothing."""
    owners = items.owners
    here = owners[rows.rows] == target
    own_item = owners[events.items[chosen]] == target
    touched = np.zeros(len(events.items), bool)
    touched[chosen[own_item]] = True
    touched[rows.events[here]] = True
    kept = chosen[touched[chosen]]
    if not len(kept):
        return None
    place = np.zeros(len(events.items), np.int64)
    place[kept] = np.arange(len(kept))
    is_own = owners[events.items[kept]] == target
    mentioned = np.concatenate((events.items[kept][is_own], rows.rows[here], rows.others[here]))
    used, inverse = np.unique(mentioned, return_inverse=True)
    own, pair_rows, pair_others = np.split(inverse.astype(np.int32), np.cumsum((is_own.sum(), here.sum())))
    item_column = np.full(len(kept), NOT_OWNED, np.int32)
    item_column[is_own] = own
    return encode_signals(
        Signals(
            source=source,
            ids=[items.ids[i] for i in used.tolist()],
            offsets=events.offsets[kept],
            timestamps=events.timestamps[kept],
            types=events.types[kept].astype(np.uint8),
            items=item_column,
            pair_events=place[rows.events[here]].astype(np.int32),
            pair_rows=pair_rows,
            pair_others=pair_others,
            pair_weights=rows.weights[here].astype(np.float32),
        )
    )
