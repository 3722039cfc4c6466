"""The arrays of the online models as another process sees them. It fetches what it has not: pages, or the deltas of a few commits.

Index, pages and deltas are written in one transaction but read in two steps, so a commit may come in between. Then a page is of a
later commit than the index says, or a delta is gone: the replica keeps what it had whole, and goes on with the next index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feature_store.model_deltas import Delta, DeltaId, Words, unpack_delta
from feature_store.packing import CorruptBlob
from feature_store.page_buffer import PageBuffer
from feature_store.page_format import Index, Page, PageCommits, PageId, unpack_index, unpack_page

_READ_BYTES: Final = 1 << 20  # short enough that others' reads pass between

Array = NDArray[Any]
Place = PageId | DeltaId


def reads(places: Iterable[Place]) -> Iterator[list[bytes]]:
    """Keys, as many as to read at once."""
    keys: list[bytes] = []
    size = 0
    for place in places:
        if keys and size + place.size > _READ_BYTES:
            yield keys
            keys, size = [], 0
        keys.append(place.key)
        size += place.size
    if keys:
        yield keys


@dataclass
class Replica:
    """The arrays, always the whole of one commit.

        wanted = replica.wanted(blob of MODEL_INDEX)
        replica.take(blobs of the wanted places' keys)     # True: `state` is now what the index told of

    Args:
        skip: arrays whose names begin with this are left out; empty: none.

    Attributes:
        index: of the state; None before the first.
        state: the arrays. `take` writes into them, and replaces those whose shape changed.
        faults: what was wrong with the last blobs: damaged, missing or torn. Damage remains until the learner writes the page again
            or its models begin anew; a torn read is over with the next index.
        torn: whether all of the faults may come from a commit between the two reads; with the same index again they do not.
    """

    skip: str = ""
    index: Index | None = None
    state: dict[str, Array] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    torn: bool = False
    _buffers: dict[str, PageBuffer] = field(default_factory=dict)
    _next: Index | None = None
    _bases: dict[str, NDArray[np.uint32]] = field(default_factory=dict)  # whose content each page has before the deltas
    _wanted: list[Place] = field(default_factory=list)
    _pages: dict[PageId, Page] = field(default_factory=dict)  # taken, but not in the state yet
    _deltas: dict[int, Delta] = field(default_factory=dict)

    def wanted(self, index_blob: bytes) -> list[Place]:
        """What to read for this index; nothing: the state is (or can be made by `take([])`) up to date.

        Raises:
            CorruptBlob: the index is damaged; everything stays as it is.
        """
        self._next = index = self._of_interest(unpack_index(index_blob))
        needs = {name: _needs(commits, self._has(name, index), index.oldest) for name, commits in index.pages.items()}
        self._bases = {name: base for name, (_, base) in needs.items()}
        pages = [PageId(name, page) for name, (fetched, _) in needs.items() for page in np.flatnonzero(fetched).tolist()]
        first = min((_first_needed(index.pages[name], base) for name, base in self._bases.items()), default=index.commit + 1)
        deltas = [DeltaId(commit, size) for commit, size in index.deltas.items() if commit >= first]
        self._pages = {place: self._pages[place] for place in pages if _fits(index, place, self._pages.get(place))}
        kept = {place.commit: self._deltas[place.commit] for place in deltas if place.commit in self._deltas}
        self._deltas = {commit: delta for commit, delta in kept.items() if delta.epoch == index.epoch}
        self._wanted = [p for p in pages if p not in self._pages] + [d for d in deltas if d.commit not in self._deltas]
        return self._wanted

    def take(self, blobs: Sequence[bytes | None]) -> bool:
        """Take the blobs of what `wanted` asked for; False: something is missing (see `faults`), the state stays."""
        index = self._next
        if index is None or len(blobs) != len(self._wanted):
            raise ValueError("take follows wanted, with a blob or None for each place")
        self.faults, self.torn = [], True
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
        return replace(index, layouts=layouts, pages={name: index.pages[name] for name in layouts})

    def _has(self, name: str, index: Index) -> int:
        """The commit as of which the state has the array. One that it has not is as it was before it began: all zeros."""
        before = index.pages[name].born - 1
        return max(before, self.index.commit) if self.index is not None and index.goes_on_from(self.index) else before

    def _hold(self, index: Index, place: Place, blob: bytes | None) -> None:
        if blob is None:
            self.faults.append(f"{place.key!r} is missing")
            return
        try:
            found = self._hold_page(index, place, blob) if isinstance(place, PageId) else self._hold_delta(index, place, blob)
        except CorruptBlob as error:
            self.faults.append(f"{place.key!r}: {error}")
            self.torn = False
            return
        if found is not None:
            self.faults.append(f"{place.key!r} is {found}: a torn read")

    def _hold_page(self, index: Index, place: PageId, blob: bytes) -> str | None:
        """Keep the page; what it is, if it is not the one that the index tells of."""
        page = self._pages[place] = unpack_page(blob, index.layouts[place.array], place)
        if _fits(index, place, page):
            return None
        return f"of commit {page.commit}, not {index.pages[place.array].stored[place.page]}"

    def _hold_delta(self, index: Index, place: DeltaId, blob: bytes) -> str | None:
        """The same for a delta."""
        delta = unpack_delta(blob)
        if (delta.epoch, delta.commit) != (index.epoch, place.commit):
            return f"of commit {delta.commit} of {delta.epoch}, not of {index.epoch}"
        for name, words in delta.words.items():
            if (
                _concerns(index, delta, name)
                and words.numbers.max(initial=0) >= len(self._bases[name]) * index.layouts[name].page_words
            ):
                raise CorruptBlob(f"{name} has no word {words.numbers.max()}")
        self._deltas[place.commit] = delta
        return None

    def _apply(self, index: Index) -> None:
        self._buffers = {name: self._room(name, index) for name in index.layouts}
        for place, page in self._pages.items():
            self._buffers[place.array].put_page(place.page, page.content)
        for _, delta in sorted(self._deltas.items()):
            for name, words in delta.words.items():
                if _concerns(index, delta, name):
                    buffer = self._buffers[name]
                    buffer.put_words(_newer(words, self._bases[name], buffer.layout.page_words, delta.commit))
        self.state = {name: buffer.array for name, buffer in self._buffers.items()}
        self.index, self._pages, self._deltas, self._wanted = index, {}, {}, []

    def _room(self, name: str, index: Index) -> PageBuffer:
        """What the state has of the array, with as many rows as the index says."""
        if self._has(name, index) < index.pages[name].born:
            return PageBuffer(index.layouts[name])
        buffer = self._buffers[name]
        buffer.grow(index.layouts[name])
        return buffer


def _needs(commits: PageCommits, has: int, oldest: int) -> tuple[NDArray[np.bool_], NDArray[np.uint32]]:
    """What brings an array on from the commit `has`: which pages to fetch, and the commits that the pages are of before the deltas.

    A page is not fetched where deltas tell of all that happened to it since: because those that its stored page needs reach back
    that far, or because none was removed since and no commit wrote its changes into the page alone.
    """
    told = (commits.stored <= has) | ((commits.whole <= has) & (oldest <= has + 1))
    fetched = (commits.changed > has) & ~told
    return fetched, np.where(fetched, commits.stored, np.uint32(has))


def _first_needed(commits: PageCommits, base: NDArray[np.uint32]) -> int:
    """The first commit whose delta any page may need."""
    return int(base[commits.changed > base].min(initial=2**32 - 2)) + 1


def _fits(index: Index, place: PageId, page: Page | None) -> bool:
    return page is not None and page[:2] == (index.epoch, int(index.pages[place.array].stored[place.page]))


def _concerns(index: Index, delta: Delta, name: str) -> bool:
    """Whether the delta's words are of the array that now has this name."""
    return name in index.pages and index.pages[name].born < delta.commit


def _newer(words: Words, base: NDArray[np.uint32], page_words: int, commit: int) -> Words:
    """Those of a commit's words whose pages are of an earlier commit: they must not take back what a page has since."""
    if not (base >= commit).any():
        return words
    kept = base[words.numbers // page_words] < commit
    return Words(words.numbers[kept], words.values[kept])
