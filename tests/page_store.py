"""Pages and deltas in a dict, and a writer that puts its changes there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from feature_store.keys import MODEL_INDEX, model_delta_key
from feature_store.model_pages import Changes, PageWriter
from feature_store.page_format import stored_pages, unpack_index
from feature_store.page_replica import Place, Replica

State = dict[str, np.ndarray[Any, Any]]


class PageStore:
    """What the learner's models look like in the store."""

    def __init__(self, epoch: int = 5) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.writer = PageWriter(epoch, "origin")

    def commit(self, state: Mapping[str, np.ndarray[Any, Any]], events: int = 0) -> Changes:
        changes = self.writer.changes(state, events, at=1)
        for key in changes.deletes:
            del self.blobs[key]
        assert not changes.deletes & changes.puts.keys()
        self.blobs |= changes.puts
        return changes

    def read(self, places: Iterable[Place]) -> list[bytes | None]:
        return [self.blobs.get(place.key) for place in places]

    def follow(self, replica: Replica) -> bool:
        return replica.take(self.read(replica.wanted(self.blobs[MODEL_INDEX])))

    def deltas(self) -> dict[bytes, int]:
        """Bytes by key of the deltas that the index tells of; they must be the blobs' own."""
        told = {model_delta_key(commit): size for commit, size in unpack_index(self.blobs[MODEL_INDEX]).deltas.items()}
        assert told == {key: len(self.blobs[key]) for key in told}
        return told

    def told(self) -> set[bytes]:
        """The keys of all that the index tells of, and its own."""
        index = unpack_index(self.blobs[MODEL_INDEX])
        return {MODEL_INDEX, *self.deltas(), *(place.key for place in stored_pages(index, index.layouts))}


def equal(found: State, state: State) -> bool:
    return found.keys() == state.keys() and all(
        found[name].dtype == array.dtype and found[name].shape == array.shape and found[name].tobytes() == array.tobytes()
        for name, array in state.items()
    )


def few_changes(commits: int) -> tuple[PageStore, State, Replica]:
    """Commits of which all but the first are deltas, and a replica of the first."""
    store, state, replica = PageStore(), {"counts": np.ones(100_000, np.uint32)}, Replica()
    store.commit(state)
    assert store.follow(replica)
    for number in range(commits):
        state["counts"][[number, 90_000]] += 7
        store.commit(state)
    return store, state, replica
