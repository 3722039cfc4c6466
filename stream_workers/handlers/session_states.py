"""The states of a session model for the users in memory: one step per event, many users at once.

A state is what `Recurrent.encode` makes of what its user took (events that speak for their item, of items that the model knows);
each new event moves it by one step. What is not simply the next event begins again from the history: an event that is older than
one before it, an undo, more events at once than the model is told of a history, a state of another version or a damaged one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.session_blob import SessionColumns, pack_sessions, session_of
from stream_workers.handlers.fan_out import SourceEvents
from stream_workers.handlers.interner import Interner
from stream_workers.models.deep.bank_sources import DEPTH
from stream_workers.models.deep.scorer import F32, I64, Query
from stream_workers.models.deep.session_model import SessionModel

Mask = NDArray[np.bool_]
_FIRST: Final = 256
_PLACE: Final = {"newest": np.int64, "kind": np.uint8, "order": np.uint64}  # where histories have an event, see `models.history`
_COLUMNS: Final = {**_PLACE, "steps": np.int64, "made": np.bool_}


class Taken(NamedTuple):
    """N events that move a state, user by user, those of one user in the order of the log.

    Attributes:
        rows: int64[N], of the users. items: int64[N], rows of the model. places: as `_PLACE` names them.
        turns: int64[N], how many the user has before in the batch. last: bool[N], the user has no more in it.
    """

    rows: I64
    items: I64
    turns: I64
    last: Mask
    places: tuple[NDArray[Any], ...]


class Moved(NamedTuple):
    """What a batch did: events that moved a state by a step, states that were made from a history."""

    stepped: int = 0
    encoded: int = 0


class SessionStates:
    """Rows of states beside the rows of the user stage.

    Args:
        type_weights: float64[types]; events of types with a weight above 0 count.
    """

    def __init__(self, type_weights: NDArray[np.float64]) -> None:
        self._speaks = type_weights > 0
        self._model: SessionModel | None = None
        self._states: F32 = np.zeros((0, 0), np.float32)
        self._columns: dict[str, NDArray[Any]] = {}
        self._ids: Interner | None = None
        self._known: I64 = np.zeros(0, np.int64)

    @property
    def model(self) -> SessionModel | None:
        """The version that states are of; None: there are no states."""
        return self._model

    def use(self, model: SessionModel | None) -> None:
        """From now on states are of this version; those of another one are made anew when an event of their user comes."""
        if model is not self._model:
            self._model, self._ids = model, None
            self._states = model.scorer.initial(_FIRST) if model else np.zeros((0, 0), np.float32)
            self._columns = {name: np.zeros(len(self._states), kind) for name, kind in _COLUMNS.items()}

    def begin(self, row: int) -> None:
        """A user without a history."""
        if self._model is not None:
            self._make_room(row + 1)
            self._states[row] = 0
            for name, column in self._columns.items():
                column[row] = name == "made"

    def load(self, row: int, blob: bytes | None, user_blob: bytes) -> None:
        """Take over a stored state, if it is of this version and belongs to what is stored of the user."""
        found = session_of(user_blob, blob)
        if self._model is None or found is None or found.model != self._model.name:
            return
        self._make_room(row + 1)
        self._states[row] = found.state
        for name in (*_PLACE, "steps"):
            self._columns[name][row] = getattr(found, name)
        self._columns["made"][row] = True

    def keep(self, kept: I64) -> None:
        """Only these rows are left, in this order."""
        if self._model is not None:
            self._make_room(int(kept.max(initial=-1)) + 1)
            self._states = self._states[kept]
            self._columns = {name: column[kept] for name, column in self._columns.items()}

    def advance(self, rows: I64, events: SourceEvents, undo: Mask, histories: Mapping[str, Any], ids: Interner) -> Moved:
        """Bring the states of users up to their newest events, which are in their histories already.

        Args:
            rows: int64[E], of the users. undo: bool[E]. ids: of `events.items` and of the histories' items.
            histories: `items`, `types`, `timestamps` and `length`, columns of `feature_store.user_blob.UserColumns`.
        """
        if self._model is None:
            return Moved()
        known, touched = self._known_of(ids), np.unique(rows)
        self._make_room(int(touched.max(initial=-1)) + 1)
        counts = self._speaks[events.types] & (known[events.items] >= 0)
        taken = _by_user(rows, events, np.flatnonzero(counts & ~undo), known, ids)
        anew = np.concatenate((touched[~self._columns["made"][touched]], rows[counts & undo], taken.rows[self._is_odd(taken)]))
        anew = np.unique(anew)
        next_ones = ~np.isin(taken.rows, anew) if len(anew) else np.ones(len(taken.rows), np.bool_)
        self._step(taken, next_ones, self._model)
        if len(anew):
            self._encode(anew, histories, known, ids, self._model)
        return Moved(int(next_ones.sum()), len(anew))

    def packed(self, rows: I64, user_blobs: list[bytes]) -> list[bytes]:
        """The blobs of these users' states, each to be written together with the user's blob.

        Raises:
            ValueError: there is no model.
        """
        if self._model is None:
            raise ValueError("no session model, no states")
        columns = {name: self._columns[name][rows] for name in (*_PLACE, "steps")}
        return pack_sessions(self._model.name, SessionColumns(**columns, state=self._states[rows]), user_blobs)

    def _make_room(self, rows: int) -> None:
        have = len(self._states)
        if rows > have:
            more = max(rows, 2 * have) - have
            self._states = np.concatenate((self._states, np.zeros((more, self._states.shape[1]), np.float32)))
            self._columns = {name: np.concatenate((old, np.zeros(more, old.dtype))) for name, old in self._columns.items()}

    def _known_of(self, ids: Interner) -> I64:
        """The model's row of each interned item, -1 where it does not know it; those met since are added."""
        if ids is not self._ids:
            self._ids, self._known = ids, np.zeros(0, np.int64)
        if self._model and len(self._known) < len(ids):
            added = [self._model.item_rows.get(item, -1) for item in ids.ids[len(self._known) :]]
            self._known = np.concatenate((self._known, np.array(added, np.int64)))
        return self._known

    def _is_odd(self, taken: Taken) -> Mask:
        """Which events are not simply the next one: older than the one before it, or too many for a user."""
        older, same = np.zeros(len(taken.rows), np.bool_), np.ones(len(taken.rows), np.bool_)
        for name, column in zip(_PLACE, taken.places, strict=True):
            before = np.where(taken.turns == 0, self._columns[name][taken.rows], np.roll(column, 1))
            older |= same & (column < before)
            same &= column == before
            if not same.any():  # as nearly always: two events of one moment are rare
                break
        return np.asarray(older | (taken.turns >= DEPTH))

    def _step(self, taken: Taken, chosen: Mask, model: SessionModel) -> None:
        """One step for each chosen event, those with the same turn together."""
        newest, steps = self._columns["newest"], self._columns["steps"]
        for turn in range(int(taken.turns[chosen].max(initial=-1)) + 1):
            now = np.flatnonzero(chosen & (taken.turns == turn))
            rows, times = taken.rows[now], taken.places[0][now]
            gaps = np.where(steps[rows] > 0, times - newest[rows], 0)
            self._states[rows] = model.scorer.step(self._states[rows], taken.items[now], gaps)
            newest[rows] = times
            steps[rows] += 1
        last = chosen & taken.last
        for name, column in zip(_PLACE, taken.places, strict=True):
            self._columns[name][taken.rows[last]] = column[last]

    def _encode(self, rows: I64, histories: Mapping[str, Any], known: I64, ids: Interner, model: SessionModel) -> None:
        """Make the states of these users from the newest `DEPTH` events of their histories that speak for an item."""
        items, kinds, times = (histories[name][rows] for name in ("items", "types", "timestamps"))
        there = np.arange(items.shape[1]) < histories["length"][rows][:, None]
        speaks = there & self._speaks[kinds]
        told = speaks & (np.cumsum(speaks, axis=1) <= DEPTH) & (known[items] >= 0)
        queries = [_query(known[items[r, mask]], times[r, mask]) for r, mask in enumerate(told)]
        self._states[rows] = model.scorer.encode_all(queries)
        some = told.any(axis=1)
        newest = (np.arange(len(rows)), told.argmax(axis=1))
        for name, column in zip(_PLACE, (times, kinds, ids.order[items]), strict=True):
            self._columns[name][rows] = np.where(some, column[newest], 0)
        self._columns["steps"][rows] = told.sum(axis=1)
        self._columns["made"][rows] = True


def _by_user(rows: I64, events: SourceEvents, chosen: I64, known: I64, ids: Interner) -> Taken:
    """The chosen events, user by user."""
    chosen = chosen[np.argsort(rows[chosen], kind="stable")]
    who, items = rows[chosen], events.items[chosen]
    changes = who[1:] != who[:-1]
    first, last = np.ones((2, len(who)), np.bool_)
    first[1:], last[:-1] = changes, changes
    number = np.arange(len(who))
    turns = number - np.maximum.accumulate(np.where(first, number, 0))
    return Taken(who, known[items], turns, last, (events.timestamps[chosen], events.types[chosen], ids.order[items]))


def _query(items: I64, timestamps: I64) -> Query:
    """A history, newest first, as the scorer is asked."""
    return Query(-1, items[::-1], timestamps[::-1], 0, np.ones(len(items), np.float32))
