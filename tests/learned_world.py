"""A learner for the tests of serving: the real bank learns, the real pages go into the store; no Kafka, no tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from feature_store.keys import SCOREBOARD
from feature_store.memory import MemoryStore
from feature_store.model_pages import PageWriter
from serving.services import Services
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import History, Interactions, Outcome
from stream_workers.models.online.context_popularity import PREFIX, ContextPopularity
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.scoreboard import Scoreboard
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.scoring_bank import ScoringBank
from tests.test_serving_world import NOW, NUMBERS, World

MINUTE = 60_000
HORROR = [f"h{n}" for n in range(40)]
COMEDY = [f"c{n}" for n in range(40)]


class Learner:
    """Learns when told to, commits when told to."""

    def __init__(self, store: MemoryStore, numbers: BankSettings = NUMBERS, epoch: int = 1) -> None:
        self.store = store
        self.bank = ModelBank(numbers)
        self.board = Scoreboard(self.bank.names)
        self.contexts = ContextPopularity()
        self.newest = 0
        self._pages = PageWriter(epoch, origin_of(numbers))

    def learn(self, users: list[str], items: list[str], times: list[int], context: tuple[str, ...] = ()) -> Outcome:
        batch = Interactions.taken(users, items, np.array(times, np.int64))._replace(contexts=[context] * len(users))
        self.contexts.learn_many(batch)
        outcome = self.bank.advance(batch, np.ones(len(users), np.bool_))
        self.board.add(outcome.only(self.board.names))
        self.newest = max([self.newest, *times])
        return outcome

    def commit(self, at: int) -> None:
        contexts = {PREFIX + name: array for name, array in self.contexts.state().items()}
        changes = self._pages.changes({**self.bank.state(), **contexts}, self.bank.learnt, at)
        for key in changes.deletes:
            self.store.blobs.pop(key, None)
        self.store.blobs.update(changes.puts)
        drifts = [{"at": at, "event": 7, "before": 0.3, "after": 0.1}]
        self.store.blobs[SCOREBOARD] = orjson.dumps(self.board.report(at, self.newest, self.bank.learnt, 1.0, "A", drifts))

    def two_tastes(self, until: int, users: int = 40, each: int = 25, seed: int = 3) -> None:
        """Half of the people watch horror, half comedies, one film a minute, the last one at `until`."""
        rng = np.random.default_rng(seed)
        taken = {f"fan{u}": rng.permutation(HORROR if u % 2 else COMEDY)[:each].tolist() for u in range(users)}
        events = [(user, items[n]) for n in range(each) for user, items in taken.items()]
        times = [until - MINUTE * (len(events) - 1 - n) for n in range(len(events))]
        self.learn([user for user, _ in events], [item for _, item in events], times)


def answer(bank: ModelBank, user: str = "fan1") -> tuple[list[str], list[float]]:
    """What a bank proposes to somebody who took two horror films, and how it scores that."""
    history = History(user, ["h3", "h5"], np.ones(2, np.uint8), np.array([NOW, NOW - MINUTE]))
    proposal = bank.recommend(history, NOW, 20, ["h9"])
    return proposal.items, proposal.scores.tolist()


def whole(bank: ModelBank) -> ScoringBank:
    """A bank that searches, as the API's do, with all of the state of another."""
    found = ScoringBank(bank.settings)
    found.load(bank.state())
    return found


def same_state(one: ModelBank, other: ModelBank) -> list[str]:
    """Names of the arrays that differ."""
    return differences(one.state(), other.state())


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Names of the arrays that differ. The units of popularity are worked out for every question, so asking changes them."""
    names = (mine.keys() | theirs.keys()) - {"popularity.unit"}
    return [n for n in names if not np.array_equal(mine[n], theirs[n], equal_nan=mine[n].dtype.kind == "f")]


def learned() -> tuple[World, Learner]:
    """Forty people with one of two tastes, learnt and committed; Ann watched two horror films unknown to the learner."""
    world = World()
    for item in HORROR + COMEDY:
        world.add_item(item, f"Film {item}", categories=["Horror" if item in HORROR else "Comedy"])
    learner = Learner(world.store)
    learner.two_tastes(NOW - 2 * MINUTE)
    learner.commit(NOW - 1000)
    world.learn(("ann", "h3", "click", 2 * MINUTE), ("ann", "h7", "click", MINUTE))
    return world, learner


async def following(world: World) -> Services:
    services = world.services()
    await services.background.refresh()
    await services.models.refresh()
    return services
