"""Slots of shared memory: whole versions only, whoever is killed and however slow somebody is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import numpy as np

from feature_store.shared_slots import SLOTS, SlotReader, Slots, SlotWriter, Snapshot, placed

WORDS = {"a": ("<i8", (1000,)), "b": ("<f4", (10, 3))}


def numbered(number: int) -> Callable[[Snapshot | None, Snapshot], None]:
    """Every element becomes this number."""

    def fill(_: Snapshot | None, wanted: Snapshot) -> None:
        for array in wanted.arrays.values():
            array[...] = number

    return fill


def write(slots: Slots, number: int) -> None:
    SlotWriter(slots).write(placed(WORDS, lambda _: False), {"number": number}, numbered(number))


def is_whole(snapshot: Snapshot) -> bool:
    return {float(value) for array in snapshot.arrays.values() for value in np.unique(array)} == {float(snapshot.about["number"])}


def test_a_writer_killed_in_the_middle_is_seen_by_nobody() -> None:
    slots = Slots()
    write(slots, 1)
    reader = SlotReader(slots)
    held = reader.take()
    assert held is not None
    for number in range(2, 8):

        def dies(_: Snapshot | None, wanted: Snapshot, number: int = number) -> None:
            wanted.arrays["a"][:500] = number
            os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            SlotWriter(slots).write(placed(WORDS, lambda _: False), {"number": number}, dies)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert not reader.behind
        assert reader.take() is None
        fresh = SlotReader(slots).take()
        assert fresh is not None
        assert is_whole(fresh)
        assert is_whole(held)
        assert fresh.about == {"number": 1}
    write(slots, 8)
    newest = reader.take()
    assert newest is not None
    assert newest.about == {"number": 8}
    assert is_whole(newest)


def test_readers_in_other_processes_see_whole_versions_only_while_a_writer_hurries() -> None:
    slots = Slots()
    write(slots, 1)
    children = [forked(lambda: _reads_until(slots, 300)) for _ in range(2)]
    for number in range(2, 301):
        write(slots, number)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


def _reads_until(slots: Slots, last: int) -> bool:
    reader, before = SlotReader(slots), 0
    while before < last:
        snapshot = reader.take()
        if snapshot is not None:
            if not is_whole(snapshot) or snapshot.about["number"] <= before:
                return False
            before = snapshot.about["number"]
    return True


def forked(body: Callable[[], bool]) -> int:
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if body() else 1)
        finally:
            os._exit(2)
    return child


async def test_a_writer_waits_for_readers_that_hold_all_other_slots() -> None:
    slots = Slots()
    held = []
    for number in range(1, SLOTS + 1):
        write(slots, number)
        held.append(SlotReader(slots).take())
    waiting = asyncio.create_task(asyncio.to_thread(write, slots, 9))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    assert all(snapshot is not None and is_whole(snapshot) for snapshot in held)
    held.pop(0)
    await asyncio.wait_for(waiting, 5)
    newest = SlotReader(slots).take()
    assert newest is not None
    assert newest.about == {"number": 9}
    assert all(snapshot is not None and is_whole(snapshot) for snapshot in held)


def test_the_memory_of_slots_that_nobody_needs_is_given_back() -> None:
    slots = Slots()
    write(slots, 1)
    slow = SlotReader(slots).take()
    for number in range(2, 6):
        write(slots, number)
    assert held_bytes(slots).count(0) == 0
    assert slow is not None
    assert is_whole(slow)
    slow = None
    for number in range(6, 8):
        write(slots, number)
    assert sorted(size > 0 for size in held_bytes(slots)) == [False] * (SLOTS - 2) + [True] * 2


def held_bytes(slots: Slots) -> list[int]:
    sizes = []
    for slot in range(SLOTS):
        with slots.opened(slot, os.O_RDONLY) as file:
            sizes.append(os.fstat(file).st_blocks)
    return sizes


def test_a_reader_holds_no_descriptor_of_a_version_that_it_let_go() -> None:
    slots = Slots()
    reader, before = SlotReader(slots), 0
    for number in range(1, 9):
        write(slots, number)
        snapshot = reader.take()
        assert snapshot is not None
        assert is_whole(snapshot)
        before = before or len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert len(os.listdir("/proc/self/fd")) <= before + SLOTS  # noqa: PTH208
