"""A user stage that keeps session states, its store, and small recurrent models for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from batch.registry.pointers import promote
from batch.registry.publish import publish
from feature_store.catalogue import Catalogue
from feature_store.keys import session_key, user_key
from feature_store.session_blob import SessionState, session_of
from feature_store.user_blob import HistoryEntry, unpack_user
from feature_store.version_manifest import TrainedOn
from schemas.events import TYPE_WEIGHTS, Event, EventType
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.stage_output import StageOutput
from stream_workers.handlers.user_batch import Profile, UserBatch
from stream_workers.handlers.user_stage import UserStage
from stream_workers.models.deep.recurrent import Ends, Recurrent
from stream_workers.models.deep.recurrent_cells import Gru
from stream_workers.models.deep.scorer import F32, Query
from stream_workers.models.deep.session_model import SessionModel
from tests.published_versions import NOON, NOTE, facts

START = 1_767_225_600_000
ITEMS = tuple(f"item{n}" for n in range(40))
ROWS = {item: row for row, item in enumerate(ITEMS)}
MODEL = "session_rnn"


def recurrent(seed: int = 1, size: int = 12, hidden: int = 20, items: int = len(ITEMS)) -> Recurrent:
    """A GRU with random weights."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> F32:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    cell = Gru(drawn(size, 3 * hidden), drawn(hidden, 3 * hidden), drawn(2, 3 * hidden))
    ends = Ends(drawn(items, size), drawn(size), drawn(hidden, size), drawn(size))
    return Recurrent(ends.inputs, drawn(items), cell, ends, tied=True)


def model(seed: int = 1) -> SessionModel:
    return SessionModel(f"{MODEL}@{seed}", recurrent(seed), ROWS)


def publish_session(root: Path, seed: int = 1) -> str:
    """Publish a recurrent model and let it serve; returns the version."""
    told = TrainedOn(first_ms=NOON - 1000, last_ms=NOON, events=900, users=0, items=len(ITEMS))
    version = publish(root, MODEL, recurrent(seed), ITEMS, (), facts(created_ms=NOON + 1000 * seed, seed=seed, trained_on=told))
    promote(root, MODEL, version, NOTE, force=True)
    return version


def encoded(scorer: Recurrent, history: list[HistoryEntry], longest: int | None = None) -> F32:
    """The state after a history (newest first), made by the model at once."""
    told = [(ROWS[e.item_id], e.timestamp) for e in history if e.item_id in ROWS and TYPE_WEIGHTS[e.type] > 0][:longest]
    items, times = (np.array([pair[part] for pair in told[::-1]], np.int64) for part in (0, 1))
    return scorer.encode(Query(-1, items, times, 0, np.ones(len(items), np.float32)))


class Sessions:
    """One partition: events in, states in the store."""

    def __init__(self, using: SessionModel | None, numbers: ModelSettings | None = None) -> None:
        self.using = using
        self.numbers = numbers or ModelSettings(partitions=1)
        self.store: dict[bytes, bytes] = {}
        self.output = StageOutput()
        self._offset = 0
        self.restart()

    def restart(self) -> None:
        """Forget what is in memory."""
        self.stage = UserStage(0, self.numbers, Catalogue())

    def apply(self, *events: Event, forget: str | None = None) -> StageOutput:
        """One batch, as a pipeline applies it."""
        batch = UserBatch(profiles=[Profile(forget, None, START)] if forget else [])
        for event in events:
            batch.append(event, "clicks", self._offset, START + 1, None)
            self._offset += 1
        self.stage.sessions.use(self.using)
        missing = self.stage.missing(batch)
        found = [[self.store.get(key(0, user)) for user in missing] for key in (user_key, session_key)]
        self.store |= self.stage.load(missing, *found)
        output = self.stage.apply(batch, START)
        for key in output.deletes:
            self.store.pop(key, None)
        self.store |= output.puts
        self.stage.shrink()
        return output

    def history(self, user: str) -> list[HistoryEntry]:
        """Newest first."""
        return unpack_user(self.store[user_key(0, user)]).history

    def session(self, user: str) -> SessionState:
        """What the API would use."""
        found = session_of(self.store[user_key(0, user)], self.store.get(session_key(0, user)))
        assert found is not None
        return found

    def off(self, user: str, longest: int | None = None) -> float:
        """How far the stored state is from the one that the model makes of the history."""
        assert self.using is not None
        return float(np.abs(self.session(user).state - encoded(self.using.scorer, self.history(user), longest)).max())


def click(user: str, item: str, after_ms: int, kind: EventType = EventType.CLICK, undo: bool = False) -> Event:
    return Event(user, item, kind, START + after_ms, None, None, undo)


def stream(count: int, seed: int = 1, users: int = 5, late: bool = False) -> list[Event]:
    """Events of all types, also at equal times, also of items that the model does not know; with `late`, some out of order."""
    rng = np.random.default_rng(seed)
    kinds = [EventType.VIEW, EventType.CLICK, EventType.LIKE, EventType.DISLIKE, EventType.HIDE]
    times = np.cumsum(rng.choice([0, 1000, 3_600_000], count))
    if late:
        times = np.maximum(times - rng.choice([0, 0, 0, 5_000_000], count), 0)
    return [click(f"u{rng.integers(users)}", f"item{rng.integers(44)}", int(at), kinds[rng.integers(len(kinds))]) for at in times]
