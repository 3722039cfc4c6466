"""Arrays as pages and deltas: whatever happens to them, a replica sees the whole of one commit or keeps what it had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store import page_rewriting
from feature_store.keys import MODEL_INDEX, MODEL_PREFIX
from feature_store.model_pages import Changes, PageWriter
from feature_store.packing import CorruptBlob
from feature_store.page_buffer import PageBuffer
from feature_store.page_format import PAGE_BYTES, Index, Layout, PageCommits, PageId, pack_index, unpack_index
from feature_store.page_replica import Replica
from tests.page_store import PageStore, State, equal

MANY = settings(deadline=None, max_examples=80)
KINDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "vectors": (np.float32, (700,)), "counts": (np.uint32, ()), "flags": (np.bool_, (3,)), "names": ("S5", ()),
    "wide": (np.float64, (9000,)), "nothing": (np.int64, (4, 0)),
}  # fmt: skip


def zeros(name: str, rows: int) -> np.ndarray[Any, Any]:
    dtype, shape = KINDS[name]
    return np.zeros((rows, *shape), dtype)


Step = tuple[str, str, int, int]
ACTS = ["grow", "cut", "change", "change", "scatter", "fill", "clear", "drop", "retype", "restart", "follow", "look"]
steps = st.lists(
    st.tuples(st.sampled_from(ACTS), st.sampled_from(list(KINDS)), st.integers(0, 70), st.integers(1, 200)), max_size=40
)


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
    elif act == "scatter":
        array.reshape(-1)[row :: 40 + value] = value
    elif act == "fill":
        array[...] = value
    elif act == "clear":
        array[row:] = np.zeros(1, array.dtype)[0]
    elif act == "drop":
        state.pop(name, None)
    elif act == "retype":
        state[name] = np.full((row, 3), value, np.int16)


@MANY
@given(steps, st.sampled_from([2, 3, 64]))
def test_every_reader_has_the_last_commit_whatever_was_changed(history: list[Step], most_deltas: int) -> None:
    """One that follows every commit, one that skips some, one that begins in the middle; and another writer takes over."""
    store, state, eager, lazy = PageStore(), {name: zeros(name, 20) for name in KINDS}, Replica(), Replica()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page_rewriting, "MOST_DELTAS", most_deltas)
        for step in history:
            changed(state, step)
            if step[0] == "restart" and eager.index is not None:
                store.writer = PageWriter.resume(eager.index, eager.state)
            store.commit(state)
            assert store.follow(eager)
            assert equal(eager.state, state)
            readers = {"follow": [lazy], "look": [Replica()]}.get(step[0], [])
            for reader in readers:
                assert store.follow(reader)
                assert equal(reader.state, state)
            assert len(store.deltas()) <= most_deltas
        store.commit(state, events=9)
    for reader in (lazy, Replica()):
        assert store.follow(reader)
        assert equal(reader.state, state)
    assert lazy.index is not None
    assert (lazy.index.events, lazy.index.epoch) == (9, 5)
    assert store.blobs.keys() == store.told(), "nothing is left behind"


def test_only_what_changed_is_written_and_fetched() -> None:
    store, replica = PageStore(), Replica()
    state = {"vectors": np.zeros((5000, 64), np.float32), "counters": np.zeros(3, np.int64)}
    assert written(store.commit(state)) == 0, "zeros need no page"
    state["vectors"][:256] = 1.5
    state["vectors"][4000] = 1.5
    state["counters"][1] = 7
    assert written(store.commit(state)) == 2 + 1, "two pages of vectors, and the words of row and counter"
    assert len(replica.wanted(store.blobs[MODEL_INDEX])) == 2 + 1
    assert store.follow(replica)
    state["vectors"] = np.concatenate((state["vectors"], np.zeros_like(state["vectors"])))
    assert written(store.commit(state)) == 0, "doubling writes nothing but the index"
    state["vectors"][9999] = 1
    assert written(store.commit(state)) == 1
    assert len(replica.wanted(store.blobs[MODEL_INDEX])) == 1
    assert store.follow(replica)
    assert equal(replica.state, state)
    assert max(map(len, store.blobs.values())) < PAGE_BYTES + 200
    assert all(key.startswith(MODEL_PREFIX) for key in store.blobs)


def written(changes: Changes) -> int:
    """Blobs of a commit beside its index."""
    return len(changes.puts) - 1


@MANY
@given(st.integers(0, 5000), st.integers(1, 40), st.lists(st.integers(0, 4999), max_size=6), st.integers(0, 5000), st.booleans())
def test_what_changed_is_what_differs(rows: int, width: int, touched: list[int], before: int, only_pages: bool) -> None:
    now = np.arange(rows * width, dtype=np.uint16).reshape(rows, width)
    old = now[:before].copy()
    for row in touched:
        if row < len(old):
            old[row, width - 1] ^= 1
    layout = Layout.of(now)
    buffer, padded = PageBuffer(layout), PageBuffer(layout)
    buffer.array[: len(old)] = old
    padded.array[:] = now
    differs = buffer.words != padded.words
    whole, words = buffer.become(now, only_pages)
    each = differs.sum(axis=1)
    assert whole.tolist() == np.flatnonzero(each > (0 if only_pages else layout.page_words // 3)).tolist()
    differs[whole] = False
    assert words.numbers.tolist() == np.flatnonzero(differs).tolist()
    assert np.array_equal(words.values, padded.words[differs])
    assert np.array_equal(buffer.words, padded.words)


def test_a_page_of_a_later_commit_than_the_index_leaves_the_old_state_until_the_next_index() -> None:
    store, replica, state = PageStore(), Replica(), {"counts": np.zeros(100_000, np.uint32)}
    store.commit(state)
    assert store.follow(replica)
    state["counts"][:8192] = state["counts"][50_000:60_000] = 2
    store.commit(state)
    seen = {name: array.copy() for name, array in replica.state.items()}
    wanted = replica.wanted(store.blobs[MODEL_INDEX])
    state["counts"][:8192] = 3
    store.commit(state)  # between the reading of the index and of the pages
    assert not replica.take(store.read(wanted))
    assert "torn" in replica.faults[0]
    assert replica.torn
    assert equal(replica.state, seen)
    again = replica.wanted(store.blobs[MODEL_INDEX])
    assert not any(isinstance(place, PageId) for place in again), "what was read is not read again"
    assert replica.take(store.read(again))
    assert equal(replica.state, state)


def test_models_begun_anew_replace_everything() -> None:
    store, replica = PageStore(epoch=1), Replica()
    store.commit({"counts": np.arange(9, dtype=np.uint32), "gone": np.ones(3)})
    assert store.follow(replica)
    anew = PageStore(epoch=2)
    anew.commit({"counts": np.array([0, 5], np.uint32)})
    wanted = replica.wanted(anew.blobs[MODEL_INDEX])
    assert not replica.take(store.read(wanted)), "a page of the old epoch"
    assert replica.state["counts"].tolist() == list(range(9))
    assert anew.follow(replica)
    assert equal(replica.state, {"counts": np.array([0, 5], np.uint32)})


@MANY
@given(st.data())
def test_damage_of_any_byte_is_detected(data: st.DataObject) -> None:
    store, replica = PageStore(), Replica()
    state = {"counts": np.arange(1, 40_000, dtype=np.uint32), "names": np.array([b"abc", b"de"])}
    store.commit({name: array[:1] for name, array in state.items()})
    assert store.follow(replica)
    before = {name: array.copy() for name, array in replica.state.items()}
    state["counts"][5] = 0
    before_last = store.commit(state).puts
    key = data.draw(st.sampled_from(sorted(before_last)))
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
    store, replica = PageStore(), Replica()
    store.commit({"counts": np.ones(20_000, np.uint32), "others": np.ones(20_000, np.uint32)})
    wanted = replica.wanted(store.blobs[MODEL_INDEX])
    assert not replica.take([None, *(store.blobs[place.key] for place in wanted[1:])])
    assert replica.faults == [f"{wanted[0].key!r} is missing"]
    assert replica.torn, "it may have been removed with an array meanwhile"
    others = next(place for place in wanted if isinstance(place, PageId) and place.array == "others")
    again = replica.wanted(store.blobs[MODEL_INDEX])
    assert not replica.take([store.blobs[others.key]] * len(again))
    assert not replica.torn
    assert (replica.state, replica.index) == ({}, None)


@pytest.mark.parametrize("array", [np.float64(1.0), np.array([{}]), np.zeros(3, ">f4")])
def test_what_cannot_be_stored_is_refused(array: Any) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        PageWriter(1, "").changes({"a": np.asarray(array)}, 0, 0)


def test_an_index_that_contradicts_itself_is_damaged() -> None:
    none = np.zeros(1, np.uint32)
    index = Index(1, 1, "", 0, 0, {"a": Layout("<f4", (4,), 10_000)}, {"a": PageCommits(1, none, none, none)}, {}, 1)
    with pytest.raises(CorruptBlob, match="without a commit"):
        unpack_index(pack_index(index))


def test_an_index_of_another_version_is_refused() -> None:
    from feature_store.packing import sealed

    with pytest.raises(CorruptBlob, match="version 1"):
        Replica().wanted(sealed(b"\x01" + b"\x80"))
