"""The arrays of the online models in the store: the one writer, and what it and its readers share.

A commit writes only what changed: pages of which much did, and one delta with the changed words of all others. With every commit
some pages that deltas have made stale are rewritten, so that old deltas are needed no more and can go. `page_replica` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feature_store.keys import MODEL_INDEX, USER_IDS, model_delta_key
from feature_store.model_deltas import Delta, pack_delta
from feature_store.page_format import Index, Layout, PageId, pack_index, pack_page, stored_pages
from feature_store.page_replica import Replica
from feature_store.page_rewriting import rewritten_now, room_for_deltas
from feature_store.stored_array import StoredArray

__all__ = ["Changes", "Index", "PageWriter", "Replica"]
_MAX_COMMIT: Final = 2**32 - 1

Array = NDArray[Any]
State = Mapping[str, Array]


@dataclass
class Changes:
    """What one commit writes.

    Attributes:
        puts, deletes: of the store. index: what the puts hold as its new index. bytes: their size.
    """

    puts: dict[bytes, bytes]
    deletes: set[bytes]
    index: Index

    @property
    def bytes(self) -> int:
        """Bytes of all blobs."""
        return sum(map(len, self.puts.values()))


class PageWriter:
    """Keeps a copy of what is stored, and finds what differs from it.

    After a commit that may have failed, the copy is ahead of the store: throw the writer away and begin from the store.

    Args:
        epoch, origin: as of `Index`, of models that begin anew.
    """

    def __init__(self, epoch: int, origin: str) -> None:
        self._arrays: dict[str, StoredArray] = {}
        self._index = Index(epoch, 0, origin, 0, 0, {}, {}, {}, 1)

    @classmethod
    def resume(cls, index: Index, state: State) -> PageWriter:
        """A writer that goes on behind this index; `state` is copied."""
        writer = cls(index.epoch, index.origin)
        writer._index = index
        writer._arrays = {
            name: StoredArray.resume(layout, index.pages[name], state[name], index.oldest) for name, layout in index.layouts.items()
        }
        return writer

    @property
    def epoch(self) -> int:
        """When the models were begun anew, ms."""
        return self._index.epoch

    def changes(self, state: State, events: int, at: int) -> Changes:
        """Writes that bring the store from the last call's state to this one; their index counts as stored from now on.

        Raises:
            ValueError: an array that cannot be stored, or more commits than a page can tell.
        """
        if self._index.commit == _MAX_COMMIT:
            raise ValueError("out of commit numbers; begin anew")
        old, commit = self._index, self._index.commit + 1
        anew = self._takes_out(state)
        layouts = {name: Layout.of(array) for name, array in state.items()}
        self._arrays = {name: self._array(name, layout, commit) for name, layout in layouts.items()}
        words = {name: self._arrays[name].become(array, layouts[name], commit, only_pages=anew) for name, array in state.items()}
        delta = _packed(Delta(old.epoch, commit, {name: changed for name, changed in words.items() if len(changed.numbers)}))
        deltas = {**old.deltas, commit: len(delta)} if delta else old.deltas
        oldest = self._rewrite_stale(deltas, commit, everything=anew)
        deltas = {number: size for number, size in deltas.items() if number >= oldest}
        pages = {name: stored.commits() for name, stored in self._arrays.items()}
        self._index = index = Index(old.epoch, commit, old.origin, events, at, layouts, pages, deltas, oldest)
        puts = self._pages_of(commit) | {model_delta_key(commit): delta for number in deltas if number == commit}
        return Changes(puts | {MODEL_INDEX: pack_index(index)}, _gone(old, index), index)

    def _takes_out(self, state: State) -> bool:
        """Whether somebody was forgotten since the last commit. Then no byte that the store had of them may stay."""
        stored, now = self._arrays.get(USER_IDS), state.get(USER_IDS)
        if stored is None:
            return False
        before = stored.copy.array
        return now is None or not np.array_equal(before, now[: len(before)])

    def _array(self, name: str, layout: Layout, commit: int) -> StoredArray:
        """The array as it is stored; one that cannot become this layout by growing begins anew."""
        stored = self._arrays.get(name)
        return stored if stored is not None and stored.holds(layout) else StoredArray(layout, commit)

    def _rewrite_stale(self, deltas: Mapping[int, int], commit: int, everything: bool) -> int:
        """Have some of the stale pages written with this commit; returns the oldest delta that is still needed."""
        arrays = list(self._arrays.values())
        since = np.concatenate([np.zeros(0, np.uint32), *(stored.since for stored in arrays)])
        stale = np.flatnonzero(since)
        stale = stale[np.argsort(since[stale], kind="stable")]
        room = room_for_deltas(sum(stored.copy.words.nbytes for stored in arrays))
        count = len(stale) if everything else rewritten_now(since[stale], deltas, room)
        now = np.zeros(len(since), np.bool_)
        now[stale[:count]] = True
        ends = np.cumsum([len(stored.since) for stored in arrays])
        for stored, chosen in zip(arrays, np.split(now, ends[:-1]) if arrays else [], strict=True):
            stored.rewrite(np.flatnonzero(chosen), commit)
        return int(since[stale[count]]) if count < len(stale) else commit + 1

    def _pages_of(self, commit: int) -> dict[bytes, bytes]:
        """The blobs of the pages that this commit writes."""
        puts = {}
        for name, stored in self._arrays.items():
            for page in np.flatnonzero(stored.stored == commit).tolist():
                place = PageId(name, page)
                puts[place.key] = pack_page(self._index, place, stored.copy.page(page))
        return puts


def _packed(delta: Delta) -> bytes:
    return pack_delta(delta) if delta.words else b""


def _gone(old: Index, new: Index) -> set[bytes]:
    """Keys that only the old index has: only arrays that ended or began anew lose pages."""
    ended = [name for name, pages in old.pages.items() if name not in new.pages or new.pages[name].born != pages.born]
    pages = {place.key for place in stored_pages(old, ended)} - {place.key for place in stored_pages(new, ended)}
    return pages | {model_delta_key(commit) for commit in old.deltas.keys() - new.deltas.keys()}
