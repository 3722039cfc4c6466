"""Every online model of one stream: predict, then learn, event by event. The same code live, in replays and in the API."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidSettings
from stream_workers.models.online.capacity import grown_world, next_capacity
from stream_workers.models.online.columns import WEIGHTS, History, Interactions, Outcome, Proposal
from stream_workers.models.online.event_log import mark_taken
from stream_workers.models.online.features import FEATURES, HALF_LIVES
from stream_workers.models.online.flat import flattened, unflattened
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.learning import advance_events, score_pool
from stream_workers.models.online.settings import BankSettings, Numbers
from stream_workers.models.online.sources import SOURCES, score_sources
from stream_workers.models.online.world import CATEGORIES, LISTED, MODELS, Person, Scratch, new_person, new_scratch, new_world

CATEGORY_CODES: Final = 512  # rarer categories than these are not looked at
_TRAINED_AFTER: Final = 200  # events from which the blend is better than a fixed one
_YEAR: Final = re.compile(r"\((\d{4})\)\s*$")
_START_ITEMS, _START_USERS, _START_EVENTS = 1024, 1024, 8192


class ModelBank:
    """All models over one stream.

    Args:
        settings: numbers of the models.

    Attributes:
        names: of the models, in the order of `Outcome.ranks`.
        items, users: ids and their codes.
    """

    names: Final = MODELS

    def __init__(self, settings: BankSettings = BankSettings()) -> None:  # noqa: B008 - an immutable value
        if len(settings.half_lives) != HALF_LIVES or min(settings.half_lives) <= 0:
            raise InvalidSettings(f"model setting half_lives={settings.half_lives}: expected {HALF_LIVES} positive numbers")
        self.settings = settings
        self.items, self.users, self._categories = IdTable(), IdTable(), IdTable()
        self._described: dict[str, tuple[tuple[int, ...], float]] = {}
        self._numbers = Numbers.of(settings)
        self._half_lives = np.array(settings.half_lives)
        self._world = new_world(settings, _START_ITEMS, _START_USERS, _START_EVENTS, len(FEATURES))
        self._person, self._scratch = self._working_memory()

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
        found = _YEAR.search(title or "")
        entry = tuple(self._categories.codes(names[:CATEGORIES]).tolist()), float(found[1]) if found else 0.0
        self._described[item_id] = entry
        code = self.items.code(item_id)
        if code >= 0:
            self._fill_content(code, entry)

    def advance(self, batch: Interactions, ranked: NDArray[np.bool_], models: Collection[str] = MODELS) -> Outcome:
        """Predict (where `ranked`, bool[E]) and then learn, event by event.

        Args:
            models: which to rank by; all of them learn.
        """
        known = len(self.items)
        users, items = self.users.codes(batch.users), self.items.codes(batch.items)
        self._make_room(len(batch.users))
        for code in range(known, len(self.items)):
            entry = self._described.get(self.items.ids[code])
            if entry is not None:
                self._fill_content(code, entry)
        rows, count = int(ranked.sum()), len(MODELS)
        events, ages = np.zeros(rows, np.int64), np.zeros(rows)
        ranks, top = np.zeros((rows, count), np.int32), np.full((rows, count, LISTED), -1, np.int32)
        facts = np.zeros((rows, 5), np.int32)
        wanted = np.array([name in models for name in MODELS])
        found = advance_events(
            self._world, self._person, self._scratch, self._numbers, self._half_lives, known, users, items,
            batch.timestamps.astype(np.float64), batch.weights, ranked, wanted, events, ranks, top, facts, ages,
        )  # fmt: skip
        return self._outcome(events[:found], ranks[:found], top[:found], facts[:found], ages[:found])

    def _outcome(self, events: Any, ranks: Any, top: Any, facts: Any, ages: Any) -> Outcome:
        counts = self._world.log.item_events
        ten = top[:, :, :10]
        present = ten >= 0
        popularity = np.where(present, counts[ten], 0).sum(axis=2) / np.maximum(1, present.sum(axis=2))
        return Outcome(
            events, MODELS, ranks, top, facts[:, 0], facts[:, 1] > 0, facts[:, 2], facts[:, 3], ages, facts[:, 4],
            popularity.astype(np.float32),
        )  # fmt: skip

    def recommend(self, history: History, now_ms: int, k: int, exclude: Collection[str] = ()) -> Proposal:
        """The best k candidates of the blend for somebody with this history at this moment; nothing is learnt.

        Args:
            history: as fresh as it can be; the bank's own log adds what the person had before.
            exclude: ids that must not come back.
        """
        person = self._person
        self._ask_for(history, now_ms, exclude)
        items = len(self.items)
        if items == 0:
            return Proposal([], np.zeros(0, np.float32), {}, self.trained, self.learnt)
        score_sources(self._world, person, self._scratch, self._numbers, self._half_lives, items)
        count = score_pool(self._world, person, self._scratch, self._numbers, self._half_lives, items, False)
        scores = self._scratch.network[:count]
        order = np.argsort(-scores, kind="stable")[:k]
        pool = self._scratch.pool[:count][order]
        places = self._scratch.place[:, pool]
        sources = {
            name: np.where(row > 0, 1.0 / np.sqrt(np.maximum(row, 1)), 0.0).astype(np.float32)
            for name, row in zip(SOURCES, places, strict=True)
        }
        ids = self.items.ids
        return Proposal([ids[code] for code in pool.tolist()], scores[order].copy(), sources, self.trained, self.learnt)

    def _ask_for(self, history: History, now_ms: int, exclude: Collection[str]) -> None:
        person, world = self._person, self._world
        user = self.users.code(history.user_id) if history.user_id is not None else -1
        codes = [self.items.code(item) for item in history.items]
        person.stamp[0] += 1
        stamp = int(person.stamp[0])
        repeats = self.settings.repeats
        taken = mark_taken(world.log, user, self.settings.taken_limit, repeats, stamp, person.marks, person.taken)
        weights = WEIGHTS[history.types]
        hidden = [code for code, weight in zip(codes, weights, strict=True) if code >= 0 and (weight < 0 or not repeats)]
        for code in {*hidden, *(self.items.code(item) for item in exclude)} - {-1}:
            if person.marks[code] != stamp:
                person.marks[code] = stamp
                person.taken[taken] = code
                taken += 1
        length = 0
        seen: set[int] = set()
        for at, code in enumerate(codes):
            if code >= 0 and code not in seen and length < len(person.items):
                seen.add(code)
                person.items[length], person.times[length] = code, history.timestamps[at]
                person.liked[length] = weights[at]
                length += 1
        person.counts[:] = length, taken, user
        person.now[0] = now_ms

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

    def _make_room(self, events: int) -> None:
        log = self._world.log
        items = next_capacity(len(log.item_last), len(self.items))
        users = next_capacity(len(log.user_last), len(self.users))
        places = min(next_capacity(len(log.item), int(log.total[0]) + events), self.settings.max_events)
        if (items, users, places) != (len(log.item_last), len(log.user_last), len(log.item)):
            self._world = grown_world(self._world, self.settings, items, users, places, len(FEATURES))
            self._person, self._scratch = self._working_memory()

    def _fill_content(self, code: int, entry: tuple[tuple[int, ...], float]) -> None:
        content = self._world.content
        if code >= len(content.year):
            return
        content.categories[code] = -1
        content.categories[code, : len(entry[0])] = entry[0]
        content.year[code] = entry[1]
