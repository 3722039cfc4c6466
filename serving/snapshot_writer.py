"""Writes the learner's commits into memory that the API processes of a machine share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from feature_store.page_format import Index
from feature_store.shared_slots import Slots, SlotWriter, Snapshot, placed
from serving.followed_model import State
from stream_workers.models.world_views import as_state, as_stored

_ABOUT: Final = ("epoch", "commit", "origin", "events", "at")


class SnapshotWriter:
    """Makes a version of each commit. Pages that a slot has already are left alone, as in `bring_up`."""

    def __init__(self, slots: Slots) -> None:
        self._writer = SlotWriter(slots)

    def write(self, index: Index, state: State) -> None:
        """Make a commit the newest version."""
        layout = placed(as_stored(state), lambda name: name.endswith((".text", ".ends")))
        about = {name: getattr(index, name) for name in _ABOUT}

        def fill(held: Snapshot | None, wanted: Snapshot) -> None:
            known = held if held and index.goes_on_from(index_of(held.about)) else None
            for name, target in as_state(wanted.arrays).items():
                _bring_up(index, name, known, target, state)

        self._writer.write(layout, about, fill)


def index_of(about: Mapping[str, Any]) -> Index:
    """What the learner said of a version, without its pages, which are not kept."""
    return Index(**{name: about[name] for name in _ABOUT}, layouts={}, pages={}, deltas={}, oldest=0)


def _bring_up(index: Index, name: str, held: Snapshot | None, target: np.ndarray[Any, Any], state: State) -> None:
    """Copy what changed since the version that the slot held, or all of it where that cannot be told."""
    source, commits = state[name], index.pages[name]
    if held is None or held.about["origin"] != index.origin or commits.born > held.about["commit"]:
        target[...] = source
        return
    rows = index.layouts[name].page_rows
    changed = commits.changed > held.about["commit"]
    changed[_rows_of(held, name) // rows :] = True  # it has become longer
    for page in np.flatnonzero(changed).tolist():
        target[page * rows : (page + 1) * rows] = source[page * rows : (page + 1) * rows]


def _rows_of(held: Snapshot, name: str) -> int:
    found = held.arrays.get(name)
    return len(found) if found is not None else held.arrays[name.rpartition(".")[0]].shape[1]
