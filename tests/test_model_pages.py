"""Arrays as pages: whatever happens to them, a replica sees the whole of one commit or keeps what it had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.keys import MODEL_INDEX, MODEL_PREFIX
from feature_store.model_pages import PageWriter, Replica, changed_pages
from feature_store.packing import CorruptBlob
from feature_store.page_format import PAGE_BYTES, Index, Layout, stored_pages, unpack_index

MANY = settings(deadline=None, max_examples=80)
State = dict[str, np.ndarray[Any, Any]]
KINDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "vectors": (np.float32, (700,)), "counts": (np.uint32, ()), "flags": (np.bool_, (3,)), "names": ("S5", ()),
    "wide": (np.float64, (9000,)), "nothing": (np.int64, (4, 0)),
}  # fmt: skip


class Store:
    """Blobs, and a writer that puts its changes there."""

    def __init__(self, epoch: int = 5) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.writer = PageWriter(epoch, "origin")

    def commit(self, state: State, events: int = 0) -> int:
        changes = self.writer.changes(state, events, at=1)
        for key in changes.deletes:
            del self.blobs[key]
        self.blobs |= changes.puts
        return len(changes.puts) - 1

    def follow(self, replica: Replica) -> bool:
        wanted = replica.wanted(self.blobs[MODEL_INDEX])
        return replica.take([self.blobs.get(place.key) for place in wanted])


def equal(found: State, state: State) -> bool:
    return found.keys() == state.keys() and all(
        found[name].dtype == array.dtype and found[name].shape == array.shape and found[name].tobytes() == array.tobytes()
        for name, array in state.items()
    )


def zeros(name: str, rows: int) -> np.ndarray[Any, Any]:
    dtype, shape = KINDS[name]
    return np.zeros((rows, *shape), dtype)


Step = tuple[str, str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["grow", "cut", "change", "clear", "drop", "retype", "restart", "follow"]), st.sampled_from(list(KINDS)),
        st.integers(0, 70), st.integers(1, 200),
    ),
    max_size=25,
)  # fmt: skip


def changed(state: State, step: Step) -> None:
    """One thing that may happen to an array."""
    act, name, row, value = step
    array = state.get(name, zeros(name, 0))
    if act == "grow":
        state[name] = np.concatenate((array, zeros(name, row) if array.dtype == zeros(name, 0).dtype else array[:0]))
    elif act == "cut":
        state[name] = array[:row].copy()
    elif act == "change" and row < len(array):
        array[row] = value
    elif act == "clear":
        array[row:] = np.zeros(1, array.dtype)[0]
    elif act == "drop":
        state.pop(name, None)
    elif act == "retype":
        state[name] = np.full((row, 3), value, np.int16)


@MANY
@given(steps)
def test_a_replica_has_the_last_commit_whatever_was_changed(history: list[Step]) -> None:
    store, state, eager, lazy = Store(), {name: zeros(name, 20) for name in KINDS}, Replica(), Replica()
    for step in history:
        changed(state, step)
        if step[0] == "restart" and eager.index is not None:
            store.writer = PageWriter.resume(eager.index, eager.state)
        store.commit(state)
        assert store.follow(eager)
        assert equal(eager.state, state)
        if step[0] == "follow":
            assert store.follow(lazy)
            assert equal(lazy.state, state)
    store.commit(state, events=9)
    assert store.follow(lazy)
    assert equal(lazy.state, state)
    assert lazy.index is not None
    assert (lazy.index.events, lazy.index.epoch) == (9, 5)
    assert store.blobs.keys() == {MODEL_INDEX, *(place.key for place in stored_pages(lazy.index))}, "nothing is left behind"


def test_only_changed_pages_are_written_and_fetched() -> None:
    store, replica = Store(), Replica()
    state = {"vectors": np.zeros((5000, 64), np.float32), "counters": np.zeros(3, np.int64)}
    assert store.commit(state) == 0, "zeros need no page"
    state["vectors"][[0, 1, 4000]] = 1.5
    state["counters"][1] = 7
    assert store.commit(state) == 3
    assert len(replica.wanted(store.blobs[MODEL_INDEX])) == 3
    assert store.follow(replica)
    state["vectors"] = np.concatenate((state["vectors"], np.zeros_like(state["vectors"])))
    assert store.commit(state) == 0, "doubling writes nothing but the index"
    state["vectors"][9999] = 1
    assert store.commit(state) == 1
    assert len(replica.wanted(store.blobs[MODEL_INDEX])) == 1
    assert store.follow(replica)
    assert equal(replica.state, state)
    assert max(map(len, store.blobs.values())) < PAGE_BYTES + 200
    assert all(key.startswith(MODEL_PREFIX) for key in store.blobs)


@MANY
@given(st.integers(0, 5000), st.integers(1, 40), st.lists(st.integers(0, 4999), max_size=6), st.integers(0, 5000))
def test_changed_pages_are_those_that_differ(rows: int, width: int, touched: list[int], before: int) -> None:
    now = np.arange(rows * width, dtype=np.uint16).reshape(rows, width)
    old = now[:before].copy()
    for row in touched:
        if row < len(old):
            old[row, width - 1] ^= 1
    per_page = Layout.of(now).page_rows
    padded = np.zeros_like(now)
    padded[: len(old)] = old
    expected = [bool((now[at : at + per_page] != padded[at : at + per_page]).any()) for at in range(0, rows, per_page)]
    assert changed_pages(old, now).tolist() == expected


def test_a_page_of_a_later_commit_than_the_index_leaves_the_old_state_until_the_next_index() -> None:
    store, replica, state = Store(), Replica(), {"counts": np.zeros(100_000, np.uint32)}
    state["counts"][[0, 50_000]] = 1
    store.commit(state)
    assert store.follow(replica)
    seen = {name: array.copy() for name, array in replica.state.items()}
    state["counts"][[0, 50_000]] = 2
    store.commit(state)
    wanted = replica.wanted(store.blobs[MODEL_INDEX])
    state["counts"][0] = 3
    store.commit(state)  # between the reading of the index and of the pages
    assert not replica.take([store.blobs.get(place.key) for place in wanted])
    assert "torn" in replica.faults[0]
    assert equal(replica.state, seen)
    assert replica.wanted(store.blobs[MODEL_INDEX]) == [], "what was read is not read again"
    assert replica.take([])
    assert equal(replica.state, state)


def test_models_begun_anew_replace_everything() -> None:
    store, replica = Store(epoch=1), Replica()
    store.commit({"counts": np.arange(9, dtype=np.uint32), "gone": np.ones(3)})
    assert store.follow(replica)
    anew = Store(epoch=2)
    anew.commit({"counts": np.array([0, 5], np.uint32)})
    wanted = replica.wanted(anew.blobs[MODEL_INDEX])
    assert not replica.take([store.blobs[place.key] for place in wanted]), "a page of the old epoch"
    assert replica.state["counts"].tolist() == list(range(9))
    assert anew.follow(replica)
    assert equal(replica.state, {"counts": np.array([0, 5], np.uint32)})


@MANY
@given(st.data())
def test_damage_of_any_byte_is_detected(data: st.DataObject) -> None:
    store, replica = Store(), Replica()
    state = {"counts": np.arange(1, 40_000, dtype=np.uint32), "names": np.array([b"abc", b"de"])}
    store.commit({name: array[:1] for name, array in state.items()})
    assert store.follow(replica)
    before = {name: array.copy() for name, array in replica.state.items()}
    store.commit(state)
    key = data.draw(st.sampled_from(sorted(store.blobs)))
    damaged = bytearray(store.blobs[key])
    if data.draw(st.booleans()):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    whole, store.blobs[key] = store.blobs[key], bytes(damaged)
    if key == MODEL_INDEX:
        with pytest.raises(CorruptBlob):
            store.follow(replica)
    else:
        assert not store.follow(replica)
        assert key.decode() in replica.faults[0]
    assert equal(replica.state, before)
    store.blobs[key] = whole
    assert store.follow(replica)
    assert equal(replica.state, state)


def test_a_missing_page_and_a_page_of_another_place_are_noticed() -> None:
    store, replica = Store(), Replica()
    store.commit({"counts": np.ones(20_000, np.uint32), "others": np.ones(20_000, np.uint32)})
    wanted = replica.wanted(store.blobs[MODEL_INDEX])
    assert not replica.take([None, *(store.blobs[place.key] for place in wanted[1:])])
    assert replica.faults == [f"{wanted[0].key!r} is missing"]
    others = next(place for place in wanted if place.array == "others")
    again = replica.wanted(store.blobs[MODEL_INDEX])
    assert not replica.take([store.blobs[others.key]] * len(again))
    assert (replica.state, replica.index) == ({}, None)


@pytest.mark.parametrize("array", [np.float64(1.0), np.array([{}]), np.zeros(3, ">f4")])
def test_what_cannot_be_stored_is_refused(array: Any) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        PageWriter(1, "").changes({"a": np.asarray(array)}, 0, 0)


def test_an_index_that_contradicts_itself_is_damaged() -> None:
    from feature_store.page_format import pack_index

    index = Index(1, 1, "", 0, 0, {"a": Layout("<f4", (4,), 10_000)}, {"a": np.zeros(1, np.uint32)})
    with pytest.raises(CorruptBlob, match="without a version"):
        unpack_index(pack_index(index))
