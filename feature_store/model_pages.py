"""The arrays of the online models as pages in the store: the writer stores only pages that changed, a replica fetches only those.

Index and changed pages are written in one transaction but read in two steps, so a commit may come in between. Then a page is of a
later commit than the index says, which its head shows: the replica keeps what it had whole, and takes the page with the next index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feature_store.keys import MODEL_INDEX, model_page_key
from feature_store.packing import CorruptBlob
from feature_store.page_format import Index, Layout, Page, PageId, pack_index, pack_page, stored_pages, unpack_index, unpack_page

__all__ = ["Changes", "Index", "PageWriter", "Replica", "changed_pages"]
_BLOCK_PAGES: Final = 64  # compared at once: few enough for the processor's cache
_MAX_COMMIT: Final = 2**32 - 1

Array = NDArray[Any]
State = Mapping[str, Array]


def changed_pages(previous: Array | None, current: Array) -> NDArray[np.bool_]:
    """Which pages of an array are not what they were: bool[pages of current].

    Args:
        previous: the array before, of any length (rows that it did not have were zero); None: all zeros.
        current: the array now.
    """
    layout = Layout.of(current)
    count, size = layout.pages, layout.page_bytes
    now = _as_bytes(current)
    before = _as_bytes(previous) if previous is not None else now[:0]
    changed = np.zeros(count, np.bool_)
    for first in range(0, count, _BLOCK_PAGES):
        pages = slice(first, min(count, first + _BLOCK_PAGES))
        octets, shape = slice(pages.start * size, pages.stop * size), (pages.stop - first, size // 8)
        changed[pages] = (_words(now[octets], shape) != _words(before[octets], shape)).any(axis=1)
    return changed


def _as_bytes(array: Array) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _words(octets: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint64]:
    """Pages as uint64[pages, words], zeros behind the end."""
    whole = 8 * shape[0] * shape[1]
    if len(octets) < whole or octets.ctypes.data % 8:
        padded = np.zeros(whole, np.uint8)
        padded[: len(octets)] = octets
        octets = padded
    return octets.view(np.uint64).reshape(shape)


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
        self._copy: dict[str, Array] = {}
        self._index = Index(epoch, 0, origin, 0, 0, {}, {})

    @classmethod
    def resume(cls, index: Index, state: State) -> PageWriter:
        """A writer that goes on behind this index; `state` is copied."""
        writer = cls(index.epoch, index.origin)
        writer._index = index
        writer._copy = {name: array.copy() for name, array in state.items()}
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
        layouts = {name: Layout.of(array) for name, array in state.items()}
        before = {name: self._before(name, layout) for name, layout in layouts.items()}
        versions = {name: self._versions(name, layout, before[name] is not None) for name, layout in layouts.items()}
        self._index = Index(old.epoch, commit, old.origin, events, at, layouts, versions)
        puts: dict[bytes, bytes] = {}
        for name, array in state.items():
            changed = np.flatnonzero(changed_pages(before[name], array)).tolist()
            versions[name][changed] = commit
            puts |= self._write(name, array, changed)
        self._copy = {name: self._copy[name] for name in state}
        puts[MODEL_INDEX] = pack_index(self._index)
        gone = set(_keys(old)) - set(_keys(self._index)) if old.layouts != layouts else set()
        return Changes(puts, gone, self._index)

    def _versions(self, name: str, layout: Layout, stored: bool) -> NDArray[np.uint32]:
        """The versions of the array's pages before this commit."""
        versions = np.zeros(layout.pages, np.uint32)
        if stored:
            kept = self._index.versions[name][: layout.pages]
            versions[: len(kept)] = kept
        return versions

    def _before(self, name: str, layout: Layout) -> Array | None:
        """The stored array, if it is of the same kind."""
        same = self._index.layouts.get(name) if name in self._copy else None
        return self._copy[name] if same and same[:2] == layout[:2] else None

    def _write(self, name: str, array: Array, changed: list[int]) -> dict[bytes, bytes]:
        layout, octets = self._index.layouts[name], _as_bytes(array)
        copy = self._copy.get(name)
        if copy is None or copy.dtype != array.dtype or copy.shape != array.shape:
            self._copy[name] = np.array(array)
        puts, kept, size = {}, _as_bytes(self._copy[name]), layout.page_bytes
        for page in changed:
            content = octets[page * size : (page + 1) * size]
            kept[page * size : (page + 1) * size] = content
            puts[model_page_key(name, page)] = pack_page(self._index, PageId(name, page), content.tobytes())
        return puts


def _keys(index: Index) -> list[bytes]:
    return [place.key for place in stored_pages(index)]


@dataclass
class Replica:
    """The arrays as another process sees them: always the whole of one commit.

        wanted = replica.wanted(blob of MODEL_INDEX)
        replica.take(blobs of the wanted pages' keys)     # True: `state` is now what the index told of

    Args:
        skip: arrays whose names begin with this are left out; empty: none.

    Attributes:
        index: of the state; None before the first.
        state: the arrays. `take` writes into them, and replaces those whose shape changed.
        faults: what was wrong with the last blobs: damaged, missing or torn. Damage and absence remain until the learner writes the
            page again or its models begin anew; a torn read is over with the next index.
    """

    skip: str = ""
    index: Index | None = None
    state: dict[str, Array] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _next: Index | None = None
    _wanted: list[PageId] = field(default_factory=list)
    _held: dict[PageId, Page] = field(default_factory=dict)  # taken, but not in the state yet

    def wanted(self, index_blob: bytes) -> list[PageId]:
        """The pages to read for this index; none: the state is (or can be made by `take([])`) up to date.

        Raises:
            CorruptBlob: the index is damaged; everything stays as it is.
        """
        self._next = index = self._of_interest(unpack_index(index_blob))
        changed = [place for place in stored_pages(index) if self._version(place) != index.versions[place.array][place.page]]
        self._held = {place: page for place, page in self._held.items() if place in set(changed)}
        self._wanted = [place for place in changed if not self._fits(index, place, self._held.get(place))]
        return self._wanted

    def take(self, blobs: Sequence[bytes | None]) -> bool:
        """Take the blobs of the pages that `wanted` asked for; False: something is missing (see `faults`), the state stays."""
        index = self._next
        if index is None or len(blobs) != len(self._wanted):
            raise ValueError("take follows wanted, with a blob or None for each page")
        self.faults = []
        for place, blob in zip(self._wanted, blobs, strict=True):
            self._hold(index, place, blob)
        if self.faults:
            return False
        self._apply(index)
        return True

    def _of_interest(self, index: Index) -> Index:
        if not self.skip:
            return index
        layouts = {name: layout for name, layout in index.layouts.items() if not name.startswith(self.skip)}
        return replace(index, layouts=layouts, versions={name: index.versions[name] for name in layouts})

    def _version(self, place: PageId) -> int:
        """The commit of the page in the state; 0 where the state has nothing of it; -1 where it must be replaced whole."""
        if self.index is None or self._next is None or self.index.epoch != self._next.epoch:
            return -1
        old, new = self.index.layouts.get(place.array), self._next.layouts[place.array]
        versions = self.index.versions.get(place.array)
        if old is None or versions is None or old[:2] != new[:2]:
            return -1
        return int(versions[place.page]) if place.page < len(versions) else 0

    def _fits(self, index: Index, place: PageId, page: Page | None) -> bool:
        return page is not None and page[:2] == (index.epoch, int(index.versions[place.array][place.page]))

    def _hold(self, index: Index, place: PageId, blob: bytes | None) -> None:
        if blob is None:
            self.faults.append(f"{place.key!r} is missing")
            return
        try:
            page = unpack_page(blob, index.layouts[place.array], place)
        except CorruptBlob as error:
            self.faults.append(f"{place.key!r}: {error}")
            return
        self._held[place] = page
        if not self._fits(index, place, page):
            self.faults.append(
                f"{place.key!r} is of commit {page.commit}, not {index.versions[place.array][place.page]}: a torn read"
            )

    def _apply(self, index: Index) -> None:
        fresh = self.index is None or self.index.epoch != index.epoch
        self.state = {name: self._sized(name, index, fresh) for name in index.layouts}
        for place, page in self._held.items():
            layout, octets = index.layouts[place.array], _as_bytes(self.state[place.array])
            whole = octets[place.page * layout.page_bytes : (place.page + 1) * layout.page_bytes]
            whole[: len(page.content)] = np.frombuffer(page.content, np.uint8)[: len(whole)]
            whole[len(page.content) :] = 0
        self.index, self._held, self._wanted = index, {}, []

    def _sized(self, name: str, index: Index, fresh: bool) -> Array:
        """The array with as many rows as the index says; kept is what was there, except pages that the index does not have."""
        old, layout = self.state.get(name), index.layouts[name]
        if old is None or fresh or (old.dtype.str, old.shape[1:]) != layout[:2]:
            return np.zeros((layout.rows, *layout.row_shape), layout.dtype)
        if len(old) != layout.rows:
            kept = old[: layout.rows]
            old = np.zeros((layout.rows, *layout.row_shape), layout.dtype)
            old[: len(kept)] = kept
        before = self.index.versions.get(name, index.versions[name]) if self.index else index.versions[name]
        both = min(len(before), layout.pages)
        for page in np.flatnonzero((index.versions[name][:both] == 0) & (before[:both] > 0)).tolist():
            old[page * layout.page_rows : (page + 1) * layout.page_rows] = 0
        return old
