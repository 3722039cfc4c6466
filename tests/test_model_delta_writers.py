"""Deltas of a writer that goes on, of a store that lost some, and of somebody who must not be found."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store import page_rewriting
from feature_store.keys import MODEL_INDEX, USER_IDS
from feature_store.model_pages import PageWriter
from feature_store.page_format import Index, unpack_index
from feature_store.page_replica import Replica
from tests.page_store import PageStore, equal, few_changes


def test_a_writer_that_goes_on_keeps_the_deltas_that_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_rewriting, "MOST_DELTAS", 6)
    store, state, replica = few_changes(4)
    for number in range(30):
        if number % 4 == 0:
            reader = Replica()
            assert store.follow(reader)
            assert isinstance(reader.index, Index)
            store.writer = PageWriter.resume(reader.index, reader.state)
        state["counts"][[number * 3000, 60_000]] += 1
        store.commit(state)
        assert 0 < len(store.deltas()) <= 6
        if number % 3 == 0:
            assert store.follow(replica)
            assert equal(replica.state, state)
    fresh = Replica()
    assert store.follow(fresh)
    assert equal(fresh.state, state)


def test_a_store_that_lost_its_last_commits_is_followed_back() -> None:
    store, state, replica = few_changes(2)
    kept, then = dict(store.blobs), {name: array.copy() for name, array in state.items()}
    state["counts"][[5, 70_000]] = 99
    store.commit(state, events=3)
    assert store.follow(replica)
    store.blobs = kept
    assert store.follow(replica)
    assert equal(replica.state, then)
    assert replica.index is not None
    store.writer = PageWriter.resume(replica.index, replica.state)
    then["counts"][6] = 98
    store.commit(then, events=4)
    assert store.follow(replica)
    assert equal(replica.state, then)


@pytest.mark.parametrize("cut", [False, True])
def test_when_somebody_is_taken_out_pages_and_deltas_are_written_anew(cut: bool) -> None:
    names = np.frombuffer(b"anna" * 3000 + b"otto-12345", np.uint8).copy()
    store, state = PageStore(), {USER_IDS: names[:12_000], "users": np.ones(20_000), "others": np.ones(20_000)}
    store.commit(state)
    state[USER_IDS] = names
    state["users"][[7, 9_000]] = 1234.5678
    state["others"][8] = 3
    store.commit(state)
    secrets = (b"otto-12345", np.float64(1234.5678).tobytes())
    assert all(any(secret in blob for blob in store.blobs.values()) for secret in secrets)
    state[USER_IDS] = names[:12_000] if cut else np.concatenate((names[:12_000], np.zeros(10, np.uint8)))
    state["users"][[7, 9_000]] = 0
    store.commit(state)
    assert not any(secret in blob for blob in store.blobs.values() for secret in secrets)
    assert store.deltas() == {}
    assert unpack_index(store.blobs[MODEL_INDEX]).oldest == 4
    fresh = Replica()
    assert store.follow(fresh)
    assert equal(fresh.state, state)


def test_people_who_come_are_no_reason_to_write_pages() -> None:
    names = np.frombuffer(b"anna" * 3000 + b"otto-12345", np.uint8)
    store = PageStore()
    store.commit({USER_IDS: names[:12_000], "users": np.ones(20_000)})
    store.commit({USER_IDS: names, "users": np.ones(20_000)})
    assert len(store.deltas()) == 1
