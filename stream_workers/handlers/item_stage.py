"""The item stage of one partition: signals in, item blobs and trending lists out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feature_store.item_blob import HORIZONS, ItemColumns, ItemState, pack_items, unpack_item
from feature_store.keys import category_trending_key, item_key, trending_key
from feature_store.packing import CorruptBlob
from feature_store.trending_blob import pack_trending
from feature_store.user_blob import TYPES
from schemas.horizons import HALF_LIVES, TOTAL_BUCKETS, WINDOWS
from stream_workers.handlers.interner import Interner
from stream_workers.handlers.rows import Rows
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.signals import Signals, merged, only
from stream_workers.models.covisitation import update_neighbours
from stream_workers.models.popularity import sum_windows, update_popularity
from stream_workers.models.subtraction import subtract_neighbours, subtract_popularity
from stream_workers.models.trending import decayed_at, strongest

I64 = NDArray[np.int64]
TRENDING_KEPT: Final = 100  # per half-life and window, for the whole partition
CATEGORY_KEPT: Final = 30  # the same for one category

_HALF_LIVES: Final = np.fromiter(HALF_LIVES.values(), np.float64)
_RING_SIZES: Final = np.array([window.buckets for window in WINDOWS.values()], np.int64)
_BUCKET_MS: Final = np.array([window.bucket_ms for window in WINDOWS.values()], np.int64)


def source_field(source: tuple[str, int]) -> str:
    """Watermark field of a source partition of the user stage.

    >>> source_field(("clicks", 3))
    'clicks:3'
    """
    return f"{source[0]}:{source[1]}"


class ItemStage:
    """State of the items of one partition.

    Call `missing`, read those keys, `load` them, `apply`; once in a while `changes` gives the writes of everything applied since.
    After a failed commit the memory is ahead of the store: throw the stage away and start from the store.

    Args:
        partition: item partition.
        settings: numbers of the models.
        watermarks: stored watermarks of the sources (`source_field`); signals at or below their source's are skipped.
    """

    def __init__(self, partition: int, settings: ModelSettings, watermarks: Mapping[str, int]) -> None:
        self._partition = partition
        self._settings = settings
        self._weights = np.array(settings.type_weights, np.float64)
        self._ids = Interner(settings.partitions)
        k = settings.neighbours
        self._rows = Rows(
            {
                "counts": ((TYPES,), np.uint32, 0), "newest": ((), np.int64, 0), "decayed": ((HORIZONS,), np.float64, 0.0),
                "buckets": ((TOTAL_BUCKETS,), np.uint32, 0), "neighbours": ((k,), np.int32, -1),
                "weights": ((k,), np.float32, 0.0), "neighbours_at": ((), np.int64, 0),
            },
            settings.cached_items,
        )  # fmt: skip
        self._dirty: list[I64] = []
        self._damaged: dict[bytes, bytes] = {}
        self._touched: list[I64] = []
        self._leaders: I64 = np.zeros(0, np.int64)
        self._category_leaders: dict[str, list[str]] = {}
        self.watermarks = dict(watermarks)
        self.applied = 0

    def missing(self, messages: Iterable[Signals]) -> list[str]:
        """Items of this partition that the messages change and that are not in memory."""
        return self._rows.missing(item for signals in messages for item in _changed_ids(signals))

    def missing_items(self, items: Iterable[str]) -> list[str]:
        """The given items that are not in memory."""
        return self._rows.missing(items)

    def load(self, items: Sequence[str], blobs: Sequence[bytes | None]) -> None:
        """Take items from the store (None: a new item). The next `changes` puts damaged ones aside; their items start anew."""
        for item, blob in zip(items, blobs, strict=True):
            row = self._rows.add(item)
            if blob is None:
                continue
            try:
                self._fill(row, unpack_item(blob))
            except CorruptBlob:
                self._damaged[b"damaged:" + item_key(self._partition, item)] = blob

    def lead(self, items: Sequence[str]) -> None:
        """Say which items led before (from the stored trending list); all must be loaded."""
        self._leaders = self._rows.find(list(items))

    def apply(self, messages: Sequence[Signals]) -> None:
        """Apply messages whose items are all in memory, in order; events at or below their source's watermark are skipped."""
        fresh = [part for signals in messages if (part := self._fresh(signals)) is not None]
        for inverse, run in groupby(fresh, key=lambda signals: signals.inverse):
            self._apply(merged(list(run)), inverse)  # one pass over the arrays for all of them

    def _apply(self, signals: Signals, inverse: bool) -> None:
        self.applied += int((signals.items >= 0).sum())
        changed = _changed(signals)
        rows = np.full(len(signals.ids), -1, np.int64)
        rows[changed] = self._rows.find([signals.ids[i] for i in changed.tolist()])
        self._count(signals, rows, subtract_popularity if inverse else update_popularity)
        self._pair(signals, rows, subtract_neighbours if inverse else update_neighbours)
        if inverse:
            self._clear_untaken(rows[changed])
        self._dirty.append(rows[changed])
        self._touched.append(rows[np.unique(signals.items[signals.items >= 0])])

    def _fresh(self, signals: Signals) -> Signals | None:
        """What of the message is above its source's watermark, which moves up."""
        name = source_field(signals.source)
        fresh = signals.offsets > self.watermarks.get(name, -1)
        if not fresh.any():
            return None
        self.watermarks[name] = int(signals.offsets.max())
        return signals if fresh.all() else only(signals, fresh)

    @property
    def dirty(self) -> bool:
        """Whether anything was applied since the last `changes`."""
        return bool(self._dirty or self._damaged)

    def changes(self) -> dict[bytes, bytes]:
        """Blobs of every item changed since the last call."""
        puts, self._damaged = self._damaged, {}
        if self._dirty:
            rows = np.unique(np.concatenate(self._dirty))
            self._dirty = []
            columns: dict[str, Any] = {name: array[rows] for name, array in self._rows.arrays.items()}
            keys = (item_key(self._partition, self._rows.keys[row]) for row in rows.tolist())
            puts.update(zip(keys, pack_items(ItemColumns(**columns), self._ids.packed), strict=True))
        return puts

    def touched_items(self) -> list[str]:
        """Items with events since the last `trending`."""
        rows = np.unique(np.concatenate([np.zeros(0, np.int64), *self._touched]))
        return [self._rows.keys[row] for row in rows.tolist()]

    def trending(self, categories: Mapping[str, Sequence[str]]) -> dict[bytes, bytes]:
        """Writes of the trending lists that events since the last call may have changed.

        Args:
            categories: for each category of a touched item, the items that may lead it now: its stored leaders and the touched
            ones;
                all in memory.
        """
        touched = np.concatenate([np.zeros(0, np.int64), *self._touched])
        self._touched = []
        self._leaders, blob = self._best(np.union1d(self._leaders, touched), TRENDING_KEPT)
        puts = {trending_key(self._partition): blob}
        for category, items in categories.items():
            leaders, blob = self._best(np.unique(self._rows.find(list(items))), CATEGORY_KEPT)
            self._category_leaders[category] = [self._rows.keys[row] for row in leaders.tolist()]
            puts[category_trending_key(self._partition, category)] = blob
        return puts

    def leaders_of(self, category: str) -> list[str] | None:
        """Items that led the category at the last `trending`; None if this stage has not computed it yet."""
        return self._category_leaders.get(category)

    def shrink(self) -> None:
        """Bound the memory; call after a successful commit with nothing dirty."""
        leaders = {self._rows.keys[row] for row in self._leaders.tolist()}
        kept = self._rows.shrink(self._leaders.tolist())
        if kept is None:
            return
        self._touched = []
        self._leaders = np.array([row for row, key in enumerate(self._rows.keys) if key in leaders], np.int64)
        self._category_leaders = {}
        self._compact_ids()

    def _count(self, signals: Signals, rows: I64, kernel: Callable[..., None]) -> None:
        own = signals.items >= 0
        a: dict[str, Any] = self._rows.arrays
        kernel(
            rows[signals.items[own]], signals.types[own].astype(np.int64), signals.timestamps[own], self._weights,
            _HALF_LIVES, _RING_SIZES, _BUCKET_MS, a["counts"], a["newest"], a["decayed"], a["buckets"],
        )  # fmt: skip

    def _pair(self, signals: Signals, rows: I64, kernel: Callable[..., None]) -> None:
        others, inverse = np.unique(signals.pair_others, return_inverse=True)
        index = self._ids.indices([signals.ids[i] for i in others.tolist()])
        a: dict[str, Any] = self._rows.arrays
        kernel(
            rows[signals.pair_rows], index[inverse], signals.pair_weights.astype(np.float64),
            signals.timestamps[signals.pair_events], self._settings.pair_half_life_ms,
            a["neighbours"], a["weights"], a["neighbours_at"],
        )  # fmt: skip

    def _clear_untaken(self, rows: I64) -> None:
        """An item that nobody took has no neighbours: where all its pairs were taken back, rounding may have left some."""
        a: dict[str, Any] = self._rows.arrays
        untaken = rows[~(a["counts"][rows][:, self._weights > 0] > 0).any(axis=1)]
        a["neighbours"][untaken], a["weights"][untaken], a["neighbours_at"][untaken] = -1, 0.0, 0

    def _best(self, rows: I64, keep: int) -> tuple[I64, bytes]:
        a: dict[str, Any] = self._rows.arrays
        now = int(a["newest"][rows].max(initial=0))
        decayed = decayed_at(now, a["newest"][rows], a["decayed"][rows], _HALF_LIVES)
        windows = sum_windows(rows, now, _RING_SIZES, _BUCKET_MS, a["newest"], a["buckets"])
        best = strongest(np.hstack((decayed, windows)), keep)
        ids = [self._rows.keys[row] for row in rows[best].tolist()]
        packed = [self._ids.packed[i] for i in self._ids.indices(ids).tolist()]
        return rows[best], pack_trending(packed, decayed[best], windows[best], now)

    def _fill(self, row: int, state: ItemState) -> None:
        a: dict[str, Any] = self._rows.arrays
        a["counts"][row], a["newest"][row], a["decayed"][row] = state.counts, state.newest, state.decayed
        a["buckets"][row], a["neighbours_at"][row] = state.buckets, state.neighbours_at
        neighbours = list(state.neighbours.items())[: self._settings.neighbours]
        a["neighbours"][row, : len(neighbours)] = self._ids.indices([item for item, _ in neighbours])
        a["weights"][row, : len(neighbours)] = [weight for _, weight in neighbours]

    def _compact_ids(self) -> None:
        """Forget ids that no kept item has as a neighbour."""
        neighbours: Any = self._rows.arrays["neighbours"]
        used, inverse = np.unique(neighbours, return_inverse=True)
        compact = Interner(self._settings.partitions)
        new = np.array([-1 if i < 0 else compact.index(self._ids.ids[i]) for i in used.tolist()], np.int32)
        self._ids = compact
        self._rows.arrays["neighbours"] = new[inverse].reshape(neighbours.shape)


def _changed(signals: Signals) -> I64:
    """Indices into `ids` of the items whose state the message changes."""
    return np.unique(np.concatenate((signals.items[signals.items >= 0], signals.pair_rows))).astype(np.int64)


def _changed_ids(signals: Signals) -> list[str]:
    return [signals.ids[i] for i in _changed(signals).tolist()]
