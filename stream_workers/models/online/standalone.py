"""Every online model alone: the kernels of the bank behind `OnlineModel`, each model over a log and ids of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.asking import ask_with
from stream_workers.models.online.capacity import Room, check_bounds, events_with_room, grown
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.compaction import RowAxes, compact, row_axes
from stream_workers.models.online.event_log import EventLog, append, history_before
from stream_workers.models.online.flat import Tree, flattened, unflattened
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.interface import UNSEEN, OnlineModel, UserState
from stream_workers.models.online.numeric import F32, I32
from stream_workers.models.online.selection import best, hide
from stream_workers.models.online.settings import BankSettings, Numbers
from stream_workers.models.online.world import new_person

_FLOOR: Final = -1e29  # above `UNSEEN`, below every score
T = TypeVar("T", bound=Tree)


class Event(NamedTuple):
    """One event that speaks for an item, as a model learns it.

    Attributes:
        items: how many there are, this one included.
        user, item: codes. new_user, new_item: whether it is the first of its user, of its item. time: ms. value: rating or NaN.
        type: code of `schemas.events.EventType`.
        history, liked: int32[n], float32[n], the user's items before it, newest first.
    """

    items: int
    user: int
    item: int
    new_user: bool
    new_item: bool
    time: float
    value: float
    type: int
    history: I32
    liked: F32


class StandaloneModel(OnlineModel, Generic[T]):
    """What all models share: ids, the log, bounds, and what must not be shown. A model says how it learns and scores.

    Args:
        settings: of the bank; each model reads what concerns it.
    """

    def __init__(self, settings: BankSettings = BankSettings()) -> None:  # noqa: B008 - an immutable value
        check_bounds(settings)
        self.settings = settings
        self.items, self.users = IdTable(), IdTable()
        self._numbers = Numbers.of(settings)
        self._half_lives = np.array(settings.half_lives)
        self._tree: T = self._empty(Room.at_first(settings))
        self._axes: RowAxes = row_axes(lambda items, users: self._empty(Room(items, users, 1)))
        self._prepare()

    @abstractmethod
    def _empty(self, room: Room) -> T:
        """What the model is before it learns: a NamedTuple whose `log` is its event log."""

    @abstractmethod
    def _learn(self, event: Event) -> float:
        """Learn an event; returns what the log keeps as its log prior (0: the model has none)."""

    @abstractmethod
    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        """Set out: float32[n] to the scores of the first n items for a person (user -1: unknown)."""

    @property
    def log(self) -> EventLog:
        """The model's own."""
        log: EventLog = self._tree._asdict()["log"]
        return log

    def learn_many(self, batch: Interactions) -> None:
        """See `OnlineModel`."""
        start = 0
        while True:
            end = events_with_room(batch, start, self.items, self.users, self.settings)
            self._learn_part(batch.part(start, end))
            if end == len(batch.users):
                return
            self.items, self.users, _ = compact(self._tree, self._axes, self.items, self.users, self.settings)
            start = end

    def score(self, user_state: UserState, items: Sequence[str]) -> F32:
        """See `OnlineModel`."""
        codes = np.array([self.items.code(item) for item in items], np.int64)
        known = codes >= 0
        scores = np.full(len(codes), UNSEEN)
        if known.any():
            scores[known] = self._all_scores(user_state)[codes[known]]
        return scores

    def candidates(self, user_state: UserState, k: int) -> list[str]:
        """See `OnlineModel`."""
        if not len(self.items) or k <= 0:
            return []
        scores = self._all_scores(user_state).copy()
        hide(scores, self._person.taken, int(self._person.counts[1]))
        out = np.zeros(k, np.int32)
        found = best(scores, _FLOOR, k, out)
        return [self.items.ids[code] for code in out[:found].tolist()]

    def state(self) -> dict[str, NDArray[Any]]:
        """See `OnlineModel`."""
        return flattened(self._tree) | self.items.state("items") | self.users.state("users")

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `OnlineModel`."""
        self._tree = unflattened(self._tree, state)
        self.items, self.users = IdTable.loaded(state, "items"), IdTable.loaded(state, "users")
        self._prepare()

    def _prepare(self) -> None:
        """Make working memory for the room there is."""
        self._person = new_person(self.settings, len(self.log.item_last))

    def _learn_part(self, batch: Interactions) -> None:
        known = len(self.items)
        users, items = self.users.codes(batch.users).tolist(), self.items.codes(batch.items).tolist()
        self._make_room(len(users))
        weights = batch.weights.tolist()
        columns = zip(batch.timestamps.astype(np.float64).tolist(), batch.values.tolist(), batch.types.tolist(), strict=True)
        for user, item, weight, (time, value, kind) in zip(users, items, weights, columns, strict=True):
            known = max(known, item + 1)
            prior = self._learn(self._event(known, user, item, time, value, kind)) if weight > 0 else 0.0
            append(self.log, user, item, time, weight, prior)

    def _event(self, known: int, user: int, item: int, time: float, value: float, kind: int) -> Event:
        log, person = self.log, self._person
        count = history_before(log, log.user_last[user], person.items, person.times, person.liked)
        new = bool(log.user_events[user] == 0), bool(log.item_events[item] == 0)
        return Event(known, user, item, *new, time, value, kind, person.items[:count], person.liked[:count])

    def _make_room(self, events: int) -> None:
        have = Room.of(self.log)
        needed = have.enough(self.settings, len(self.items), len(self.users), int(self.log.total[0]) + events)
        if needed != have:
            self._tree = grown(self._tree, self._empty(needed))
            self._prepare()

    def _all_scores(self, asked: UserState) -> F32:
        """float32[items] for a person; `self._person` then says what must not be shown."""
        user = self.users.code(asked.user_id) if asked.user_id is not None else -1
        person = self._person
        ask_with(person, self.log, self._numbers, self.items, user, asked.history, asked.now_ms)
        length = int(person.counts[0])
        scores = np.zeros(len(self.items), np.float32)
        self._fill(user, person.items[:length], person.liked[:length], float(asked.now_ms), scores)
        return scores
