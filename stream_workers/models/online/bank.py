"""Every online model of one stream: predict, then learn, event by event. The same code live, in replays and in the API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidSettings
from stream_workers.models.online.answering import rank_candidates
from stream_workers.models.online.asking import ask_with
from stream_workers.models.online.capacity import Room, check_bounds, events_with_room, grown
from stream_workers.models.online.columns import History, Interactions, Outcome, Proposal, joined, moved_codes
from stream_workers.models.online.compaction import STAYED, RowAxes, compact, empty_items, forget_user, row_axes
from stream_workers.models.online.descriptions import Descriptions
from stream_workers.models.online.event_log import EventLog
from stream_workers.models.online.features import FEATURES, HALF_LIVES
from stream_workers.models.online.flat import flattened, unflattened
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.learning import advance_events
from stream_workers.models.online.numeric import F32, I32
from stream_workers.models.online.settings import BankSettings, Numbers
from stream_workers.models.online.sources import SOURCES
from stream_workers.models.online.taking_back import take_back_events
from stream_workers.models.online.world import (
    CATEGORIES,
    LISTED,
    MODELS,
    OWN,
    SHADOW_1,
    Person,
    Scratch,
    World,
    new_person,
    new_scratch,
    new_world,
)

OWN_MODELS: Final = MODELS[:OWN]
CATEGORY_CODES: Final = 512  # rarer categories than these are not looked at
_TRAINED_AFTER: Final = 200  # events from which the blend is better than a fixed one


NOTHING: Final = np.zeros((0, 0), np.float32)


def _silent(rows: int) -> NDArray[np.float32]:
    """No batch model says anything of any of the rows."""
    return np.zeros((rows, 0, 0), np.float32)


class Sources(Protocol):
    """Published batch models (`models.deep.bank_sources.BankSources`)."""

    @property
    def shadows(self) -> Sequence[str]:
        """Beside them, models that are judged and not used; at most as many."""

    def __len__(self) -> int:
        """How many there are, at most `BATCH_MODELS`."""

    def before(self, log: EventLog, users: I32, items: I32, batch: Interactions, ranked: NDArray[np.bool_], table: IdTable) -> F32:
        """What each says of every item for each ranked event: float32[R, models, I]; where there are shadows, these stand behind
        `BATCH_MODELS` rows.
        """


class SaysOfSome(Protocol):
    """Published batch models that are asked for their best and for given items, and not for all (`models.deep.searched`)."""

    def __len__(self) -> int:
        """How many there are."""

    def best(self, k: int) -> I32:
        """Codes of each model's best items, best first, -1 behind the last: int32[models, k]."""

    def of(self, codes: I32) -> F32:
        """What each says of n items: float32[models, n]."""


class ModelBank:
    """All models over one stream.

    Args:
        settings: numbers of the models.

    Attributes:
        sources: published batch models that the blend takes candidates from; None: none. What it says of them is not state.
        items, users: ids and their codes. Codes change when the settings' bounds are reached, see `Outcome.moved`.

    Raises:
        InvalidSettings: numbers that make no sense.
    """

    def __init__(self, settings: BankSettings = BankSettings()) -> None:  # noqa: B008 - an immutable value
        if len(settings.half_lives) != HALF_LIVES or min(settings.half_lives) <= 0:
            raise InvalidSettings(f"model setting half_lives={settings.half_lives}: expected {HALF_LIVES} positive numbers")
        check_bounds(settings)
        self.settings = settings
        self.sources: Sources | None = None
        self.items, self.users, self._categories = IdTable(), IdTable(), IdTable()
        self._described = Descriptions()
        self._numbers = Numbers.of(settings)
        self._half_lives = np.array(settings.half_lives)
        self._world = self._empty(Room.at_first(settings))
        self._person, self._scratch = self._working_memory()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models, in the order of `Outcome.ranks`: those that learn here, then `batch_1` and so on, one for each source,
        then `shadow_1` and so on.
        """
        sources, shadows = (len(self.sources), len(self.sources.shadows)) if self.sources is not None else (0, 0)
        return MODELS[: OWN + sources] + MODELS[SHADOW_1 : SHADOW_1 + shadows]

    @property
    def learnt(self) -> int:
        """Events learnt so far."""
        return int(self._world.log.total[0])

    @property
    def trained(self) -> bool:
        """Whether the blend has learnt enough to be used."""
        return float(self._world.blend.steps[0]) >= _TRAINED_AFTER

    def describe(self, item_id: str, categories: Sequence[str] = (), title: str | None = None) -> None:
        """Take over what the catalogue says of an item; a year in brackets at the end of the title is its year."""
        names = [name for name in categories if self._categories.code(name) >= 0 or len(self._categories) < CATEGORY_CODES]
        self._described.put(item_id, self._categories.codes(names[:CATEGORIES]).tolist(), title)
        code = self.items.code(item_id)
        if code >= 0:
            self._described.fill(self._world.content, code, item_id)

    def advance(self, batch: Interactions, ranked: NDArray[np.bool_], models: Collection[str] = MODELS) -> Outcome:
        """Predict (where `ranked`, bool[E]) and then learn, event by event; the same however a stream is cut into batches.

        An item or user too many makes room first: a fifth of them, the least important, are forgotten.

        Args:
            models: which to rank by; all of them learn.
        """
        wanted = np.array([name in models for name in MODELS])
        start, moved, parts = 0, STAYED, list[Outcome]()
        while True:
            end = events_with_room(batch, start, self.items, self.users, self.settings)
            parts.append(self._advance(batch.part(start, end), ranked[start:end], wanted, start))
            if end == len(batch.users):
                return joined(parts)._replace(moved=moved)
            self.items, self.users, step = compact(self._world, self._axes, self.items, self.users, self.settings)
            if len(step):
                parts = [part._replace(top=moved_codes(part.top, step)) for part in parts]
                moved = moved_codes(moved, step) if len(moved) else step
            start = end

    def _advance(self, batch: Interactions, ranked: NDArray[np.bool_], wanted: NDArray[np.bool_], start: int) -> Outcome:
        """Predict and learn events that there is room for; they begin at `start` of their batch."""
        known = len(self.items)
        users, items = self.users.codes(batch.users), self.items.codes(batch.items)
        self._make_room(len(batch.users))
        for code in range(known, len(self.items)):
            self._described.fill(self._world.content, code, self.items.ids[code])
        rows, count = int(ranked.sum()), len(MODELS)
        said = _silent(rows)
        if rows and self.sources is not None:
            said = self.sources.before(self._world.log, users, items, batch, ranked, self.items)
        events, ages = np.zeros(rows, np.int64), np.zeros(rows)
        ranks, top = np.zeros((rows, count), np.int32), np.full((rows, count, LISTED), -1, np.int32)
        facts, popular = np.zeros((rows, 5), np.int32), np.zeros((rows, count), np.float32)
        found = advance_events(
            self._world, self._person, self._scratch, self._numbers, self._half_lives, known, users, items,
            batch.timestamps.astype(np.float64), batch.weights, ranked, said, wanted, events, ranks, top, facts, ages,
            popular,
        )  # fmt: skip
        facts = facts[:found]
        return Outcome(
            events[:found] + start, MODELS, ranks[:found], top[:found], facts[:, 0], facts[:, 1] > 0, facts[:, 2], facts[:, 3],
            ages[:found], facts[:, 4], popular[:found],
        ).only(self.names)  # fmt: skip

    def forget(self, user_id: str) -> None:
        """Remove a person: the id, the vectors, and what their events added to the counts of items (see `taking_back`).

        Unknown ids are none of its business.
        """
        code = self.users.code(user_id)
        if code >= 0:
            depth, log = self.settings.depth, self._world.log
            taken = np.zeros(int(log.user_events[code]), np.int32)
            count = take_back_events(
                self._world, self._numbers, self._half_lives, code, np.zeros(depth, np.int32), np.zeros(depth),
                np.zeros(depth, np.float32), taken,
            )  # fmt: skip
            forget_user(self._world, self._axes, code)
            empty_items(self._world, self._axes, [item for item in set(taken[:count].tolist()) if not log.item_events[item]])
            self.users.forget(code)

    def recommend(
        self, history: History, now_ms: int, k: int, exclude: Collection[str] = (), said: F32 | SaysOfSome | None = None,
        again: bool = False, features: bool = False,
    ) -> Proposal:  # fmt: skip
        """The best k candidates of the blend for somebody with this history at this moment; nothing is learnt.

        Args:
            history: as fresh as it can be; the bank's own log adds what the person had before.
            exclude: ids that must not come back.
            said: float32[models, items], what published batch models say of each item (to a bank that searches: of those it asks
                for); None: there are none.
            again: whether what the person had may come again, whatever the settings say.
            features: whether to tell what the blend saw of each candidate.
        """
        person = self._person
        numbers = self._numbers._replace(repeats=True) if again else self._numbers
        user = self.users.code(history.user_id) if history.user_id is not None else -1
        ask_with(person, self._world.log, numbers, self.items, user, history, now_ms, exclude)
        scratch = self._scratch
        count = self._rank_candidates(numbers, NOTHING if said is None else said) if len(self.items) else 0
        order = np.argsort(-scratch.blended[:count], kind="stable")[:k]
        pool = scratch.pool[:count][order]
        found = list(map(self.items.ids.__getitem__, pool.tolist()))
        seen = scratch.x[:, order] if features else None
        return Proposal(found, pool, scratch.blended[order], scratch.place[:, pool], SOURCES, self.trained, self.learnt, seen)

    def _rank_candidates(self, numbers: Numbers, said: F32 | SaysOfSome) -> int:
        """Bring the candidates for `_person` together in `_scratch`, scored by the blend; how many there are."""
        if not isinstance(said, np.ndarray):
            raise TypeError("this bank scores every item; it must be told of every item")
        return int(rank_candidates(self._world, self._person, self._scratch, numbers, self._half_lives, len(self.items), said))

    def state(self) -> dict[str, NDArray[Any]]:
        """Every array by name, axis 0 the rows; views, so copy what must not change."""
        state = flattened(self._world)
        for name, table in (("items", self.items), ("users", self.users), ("categories", self._categories)):
            state.update(table.state(name))
        return state

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state.

        Raises:
            InvalidSettings: it was made with other settings or by another version.
        """
        world = unflattened(self._world, state)
        self.items, self.users = IdTable.loaded(state, "items"), IdTable.loaded(state, "users")
        self._categories = IdTable.loaded(state, "categories")
        self._world = world
        self._person, self._scratch = self._working_memory()

    def _working_memory(self) -> tuple[Person, Scratch]:
        items, users = len(self._world.log.item_last), len(self._world.log.user_last)
        return (
            new_person(self.settings, items),
            new_scratch(self.settings, items, users, len(FEATURES), len(SOURCES), CATEGORY_CODES),
        )

    @cached_property
    def _axes(self) -> RowAxes:
        return row_axes(lambda items, users: self._empty(Room(items, users, 1)))

    def _empty(self, room: Room) -> World:
        return new_world(self.settings, *room, len(FEATURES))

    def _make_room(self, events: int) -> None:
        log = self._world.log
        have = Room.of(log)
        needed = have.enough(self.settings, len(self.items), len(self.users), int(log.total[0]) + events)
        if needed != have:
            self._world = grown(self._world, self._empty(needed))
            self._person, self._scratch = self._working_memory()
