"""Arrays that one process writes and others of the same machine read without a copy, one complete version at a time.

There are a few slots, each a file that only lives in memory (memfd_create(2), Linux): it has no name, so nothing is left behind
whatever is killed, and it counts for the memory of the container and not for its /dev/shm. They are made before the processes are
forked, so all of them have all slots, also those that are started later. A version is written into a slot that nobody reads:

    slot = generation u64 (0: being written) | length u64 | msgpack of what it holds | arrays, 64-byte aligned

- A reader holds a shared lock (flock(2)) on the slot for as long as any of its arrays is referred to, the writer an exclusive one
  while it writes. So what somebody reads is never written to, however long they take.
- The generation is 0 while a slot is written and is announced when the slot is whole. A writer that is killed leaves a slot that
  nobody was told of, and its lock goes with it.
- A reader's mapping is read-only and stays from version to version, so taking one costs no page table. NumPy is told that the
  arrays can be written to, because kernels are compiled for such; whoever does write is ended (SIGSEGV), and harms nobody.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidSettings

Array = NDArray[Any]
SLOTS: Final = 3  # one is read, one is written, one may be held by somebody slow
_HEAD: Final = struct.Struct("<QQ")
_HEAD_BYTES: Final = 1 << 16
_ALIGNED: Final = 64
_RETRY_SECONDS: Final = 0.005


class Extent(NamedTuple):
    """Where an array is in a slot.

    Attributes:
        dtype: NumPy's name of it. shape: of the array. room: rows that there is room for. offset: bytes from the start.
    """

    dtype: str
    shape: tuple[int, ...]
    room: int
    offset: int

    @property
    def end(self) -> int:
        """The first byte behind its room."""
        return self.offset + np.dtype(self.dtype).itemsize * prod(self.shape[1:]) * self.room

    def of(self, octets: NDArray[np.uint8]) -> Array:
        """The array, as a view of a slot."""
        size = np.dtype(self.dtype).itemsize * prod(self.shape)
        return octets[self.offset : self.offset + size].view(self.dtype).reshape(self.shape)

    def place(self) -> tuple[str, tuple[int, ...], int, int]:
        """All but how many rows are used."""
        return self.dtype, self.shape[1:], self.room, self.offset


class Snapshot(NamedTuple):
    """What a slot holds: what its writer says of it, and the arrays, which are views."""

    about: Mapping[str, Any]
    arrays: dict[str, Array]


Fill = Callable[[Snapshot | None, Snapshot], None]


class Slots:
    """The slots and the place where the newest is announced, for the processes that are forked from here on.

    Raises:
        InvalidSettings: not on Linux.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise InvalidSettings(
                "FRESHET_API_PROCESSES: more than one needs Linux, whose memfd_create(2) they share their models by"
            )
        self._board = mmap.mmap(-1, mmap.PAGESIZE)  # shared with whoever is forked; one aligned word is written as a whole
        self._announced, self._faults, self._at = np.frombuffer(self._board, np.uint64, 3).reshape(3, 1)
        self._files = [os.memfd_create(f"freshet-models-{slot}") for slot in range(SLOTS)]

    @property
    def announced(self) -> int:
        """Generation and slot of the newest version as one number; 0: there is none."""
        return int(self._announced[0])

    @property
    def faults(self) -> int:
        """How often the writer had nothing that it could write."""
        return int(self._faults[0])

    @faults.setter
    def faults(self, count: int) -> None:
        self._faults[0] = count

    @property
    def age(self) -> float:
        """Seconds since the newest version was announced."""
        return float(time.monotonic_ns() - int(self._at[0])) / 1e9

    def announce(self, slot: int, generation: int) -> None:
        """Make a version the newest."""
        self._at[0] = time.monotonic_ns()
        self._announced[0] = generation * SLOTS + slot

    @contextmanager
    def opened(self, slot: int, flags: int) -> Iterator[int]:
        """A descriptor of its own, so that its lock is one too."""
        file = os.open(f"/proc/self/fd/{self._files[slot]}", flags | os.O_CLOEXEC)
        try:
            yield file
        finally:
            os.close(file)


class SlotWriter:
    """Writes versions; one process at a time."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def write(self, arrays: Mapping[str, Extent], about: Mapping[str, Any], fill: Fill) -> None:
        """Write a version and announce it; waits while readers hold all other slots.

        Args:
            arrays: as `placed` gives them. about: of the version, for readers; msgpack.
            fill: writes the arrays of the second; the first is what the slot holds now in the same places, None: nothing of use.
        """
        generation = self._slots.announced // SLOTS + 1
        with self._spare() as (slot, file):
            _, held = _read_head(file)
            os.pwrite(file, _HEAD.pack(0, 0), 0)
            _fill(file, held, (about, arrays), fill)
            _write_head(file, generation, about, arrays)
        self._slots.announce(slot, generation)
        self._clear_older()

    def _clear_older(self) -> None:
        """Give back the memory of all slots but the newest and the one before: of a copy for somebody slow, and of whoever may have
        been forgotten since.
        """
        for slot in self._by_age()[1:]:
            with self._slots.opened(slot, os.O_RDWR) as file:
                if _locked(file, fcntl.LOCK_EX):
                    os.ftruncate(file, 0)

    @contextmanager
    def _spare(self) -> Iterator[tuple[int, int]]:
        """A slot that is not the announced one and that nobody reads, locked; the one that was written last of these."""
        while True:
            for slot in self._by_age():
                with self._slots.opened(slot, os.O_RDWR) as file:
                    if _locked(file, fcntl.LOCK_EX):
                        yield slot, file
                        return
            time.sleep(_RETRY_SECONDS)

    def _by_age(self) -> list[int]:
        current = self._slots.announced % SLOTS if self._slots.announced else -1
        ages = {}
        for slot in set(range(SLOTS)) - {current}:
            with self._slots.opened(slot, os.O_RDONLY) as file:
                ages[slot] = _read_head(file)[0]
        return sorted(ages, key=lambda slot: -ages[slot])


class _Lease:
    """The bytes of a slot, locked for as long as an array refers to them."""

    def __init__(self, octets: NDArray[np.uint8], file: int) -> None:
        self._octets = octets
        self._file = file
        address, _ = octets.__array_interface__["data"]
        self.__array_interface__ = {**octets.__array_interface__, "data": (address, False)}  # False: not "read-only", see above

    def __del__(self) -> None:
        os.close(self._file)


class SlotReader:
    """Takes the newest version, for one process."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._taken = 0
        self._mapped: dict[int, NDArray[np.uint8]] = {}

    @property
    def behind(self) -> bool:
        """Whether there is a version that was not taken yet."""
        return self._slots.announced != self._taken

    def take(self) -> Snapshot | None:
        """The newest version, which stays as it is for as long as anything refers to its arrays; None: there is none that is new,
        or it was overtaken just now.
        """
        announced = self._slots.announced
        if announced == self._taken:
            return None
        slot = announced % SLOTS
        with self._slots.opened(slot, os.O_RDONLY) as file:
            if not _locked(file, fcntl.LOCK_SH):
                return None
            generation, held = _read_head(file)
            if held is None or generation != announced // SLOTS:
                return None
            lease = _Lease(self._mapping(slot, os.fstat(file).st_size), os.dup(file))  # a copy of it has the same lock
        self._taken = announced
        return _snapshot(held, np.asarray(lease))

    def _mapping(self, slot: int, size: int) -> NDArray[np.uint8]:
        """The slot's bytes. By another descriptor than the locked one: a mapping keeps its own."""
        if len(self._mapped.get(slot, ())) < size:
            with self._slots.opened(slot, os.O_RDONLY) as file:
                octets = np.frombuffer(mmap.mmap(file, size, mmap.MAP_SHARED, mmap.PROT_READ), np.uint8)
            octets[:: mmap.PAGESIZE].max()  # every page once, here and not while a request waits
            self._mapped[slot] = octets
        return self._mapped[slot]


def placed(arrays: Mapping[str, tuple[str, tuple[int, ...]]], growing: Callable[[str], bool]) -> dict[str, Extent]:
    """One behind the other, in the order of the names, so that the same arrays get the same places.

    Args:
        arrays: dtype and shape of each. growing: by name, whether it gets room for more rows than it has.
    """
    found, offset = {}, _HEAD_BYTES
    for name, (dtype, shape) in sorted(arrays.items()):
        room = 1 << max(10, (shape[0] - 1).bit_length()) if growing(name) else shape[0]
        found[name] = Extent(dtype, shape, room, offset)
        offset = -(-found[name].end // _ALIGNED) * _ALIGNED
    return found


_Held = tuple[Mapping[str, Any], Mapping[str, Extent]]


def _fill(file: int, held: _Held | None, wanted: _Held, fill: Fill) -> None:
    """A function of its own, so that the mapping, which has a copy of the lock, is gone with it."""
    end = max((extent.end for extent in wanted[1].values()), default=_HEAD_BYTES)
    if os.fstat(file).st_size < end:
        os.ftruncate(file, end)
    octets = np.frombuffer(mmap.mmap(file, end), np.uint8)
    known = _snapshot(held, octets) if held and _places(held[1]) == _places(wanted[1]) else None
    fill(known, _snapshot(wanted, octets))


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_head(file: int) -> tuple[int, _Held | None]:
    """The generation, and what the slot holds; 0 and None: nothing that is whole."""
    head = os.pread(file, _HEAD.size, 0)
    generation, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
    if not generation:
        return 0, None
    about, extents = msgpack.unpackb(os.pread(file, length, _HEAD.size))
    return generation, (about, {name: Extent(dtype, tuple(shape), *rest) for name, (dtype, shape, *rest) in extents.items()})


def _write_head(file: int, generation: int, about: Mapping[str, Any], arrays: Mapping[str, Extent]) -> None:
    packed = msgpack.packb([about, arrays])
    if len(packed) > _HEAD_BYTES - _HEAD.size:
        raise ValueError(f"{len(packed)} bytes about {len(arrays)} arrays: there is room for {_HEAD_BYTES - _HEAD.size}")
    os.pwrite(file, packed, _HEAD.size)
    os.pwrite(file, _HEAD.pack(generation, len(packed)), 0)


def _places(arrays: Mapping[str, Extent]) -> dict[str, Any]:
    return {name: extent.place() for name, extent in arrays.items()}


def _snapshot(held: _Held, octets: NDArray[np.uint8]) -> Snapshot:
    about, arrays = held
    return Snapshot(about, {name: extent.of(octets) for name, extent in arrays.items()})
