"""Searching finds what scoring every item finds: the same candidates, in the same places, with the same scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from schemas.events import EventType
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import History, Proposal
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.standing import LEADERS
from stream_workers.models.online.world import BATCH_MODELS, LARGEST_POOL
from stream_workers.models.scoring_bank import ScoringBank
from tests.online_models import MINUTE, NONE, START, clicks, copied, cut, mixed

ITEMS, USERS, EVENTS = 900, 60, 4000
NUMBERS = BankSettings(max_items=2000, max_users=200, max_events=1 << 13, covisit_neighbours=16, knn_occurrences=20)
NOW = START + (ITEMS + EVENTS + 10) * MINUTE


def taught(numbers: BankSettings = NUMBERS, items: int = ITEMS) -> ModelBank:
    """More items than a list of leaders has, each taken once, some often; one person has had all that are popular."""
    bank = ModelBank(numbers)
    rng = np.random.default_rng(2)
    for n in range(items):
        bank.describe(f"i{n}", [f"genre{n % 7}"], f"Film ({1980 + n % 40})")
    every = clicks([f"u{n % USERS}" for n in range(items)], [f"i{n}" for n in rng.permutation(items)])
    often = mixed(EVENTS, users=USERS, items=items, start=START + items * MINUTE)
    greedy = clicks(["greedy"] * min(600, items), [f"i{n}" for n in range(min(600, items))], START + (items + EVENTS) * MINUTE)
    for batch in (every, *cut(often, 500), greedy):
        bank.advance(batch, batch.weights > 0)
    return bank


@pytest.fixture(scope="module")
def dense() -> ModelBank:
    return taught()


def searching(bank: ModelBank) -> ScoringBank:
    found = ScoringBank(bank.settings)
    found.load(copied(bank.state()))
    return found


def had(user: str | None, *items: str, types: Sequence[int] = ()) -> History:
    kinds = np.array(types or [EventType.CLICK] * len(items), np.uint8)
    return History(user, list(items), kinds, NOW - MINUTE * np.arange(len(items)))


ASKED = {
    "nobody": NONE,
    "known": had("u3", "i4", "i2", "i9"),
    "known, with nothing lately": had("u5"),
    "new": had("new", "i700", "i1"),
    "items that nobody knows": had("new", "x1", "i3", "x2"),
    "against something": had("u7", "i3", "i1", "i5", types=(EventType.DISLIKE, EventType.LIKE, EventType.HIDE)),
    "had all that is popular": had("greedy", *[f"i{n}" for n in range(100)]),
}


def seen(proposal: Proposal) -> dict[str, tuple[int, ...]]:
    """Items with their place in each source's list."""
    return {item: tuple(proposal.places[:, at].tolist()) for at, item in enumerate(proposal.items)}


def assert_same(found: Proposal, wanted: Proposal) -> None:
    assert seen(found) == seen(wanted)
    scores = dict(zip(wanted.items, wanted.scores.tolist(), strict=True))
    assert found.scores.tolist() == pytest.approx([scores[item] for item in found.items], abs=1e-4)
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("who", ASKED)
@pytest.mark.parametrize("again", [False, True])
def test_the_same_as_with_every_item_scored(dense: ModelBank, who: str, again: bool) -> None:
    asked = (ASKED[who], NOW, LARGEST_POOL, ("i0", "i8"))
    wanted = dense.recommend(*asked, again=again, features=True)
    found = searching(dense).recommend(*asked, again=again, features=True)
    assert wanted.items
    assert_same(found, wanted)
    assert wanted.features is not None
    assert found.features is not None
    order = [wanted.items.index(item) for item in found.items]
    np.testing.assert_allclose(found.features, wanted.features[:, order], atol=2e-3)


def said(rng: Any, silent: int | None) -> Any:
    scores = rng.normal(size=(BATCH_MODELS, ITEMS)).astype(np.float32)
    if silent is not None:
        scores[silent] = np.nan
    return scores


@pytest.mark.parametrize("silent", [None, 0, 1])
def test_what_published_models_say_is_left_as_it_is(dense: ModelBank, silent: int | None) -> None:
    rows = said(np.random.default_rng(3), silent)
    before = rows.copy()
    searching(dense).scores(["i4", "i850"], ASKED["had all that is popular"], NOW, (), rows)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("silent", [None, 0, 1])
def test_published_models_propose_too(dense: ModelBank, silent: int | None) -> None:
    rows = said(np.random.default_rng(3), silent)
    wanted = dense.recommend(ASKED["known"], NOW, LARGEST_POOL, (), rows.copy())
    assert_same(searching(dense).recommend(ASKED["known"], NOW, LARGEST_POOL, (), rows.copy()), wanted)


def test_a_question_leaves_no_trace_for_the_next(dense: ModelBank) -> None:
    bank = searching(dense)
    first = {who: bank.recommend(history, NOW, LARGEST_POOL) for who, history in ASKED.items()}
    for who in reversed(ASKED):
        bank.scores(["i1", "i899", "x"], ASKED[who], NOW)  # what is asked for by name leaves none either
        again = bank.recommend(ASKED[who], NOW, LARGEST_POOL)
        assert (again.items, again.scores.tolist()) == (first[who].items, first[who].scores.tolist())


def test_few_items_are_all_candidates_of_somebody() -> None:
    small = taught(NUMBERS._replace(pool=5), items=30)
    for history in ASKED.values():
        assert_same(searching(small).recommend(history, NOW, LARGEST_POOL), small.recommend(history, NOW, LARGEST_POOL))


def test_what_was_worked_out_is_of_one_state(dense: ModelBank) -> None:
    bank = searching(dense)
    bank.recommend(NONE, NOW, 5)
    batch = clicks([f"n{n}" for n in range(300)], ["i500"] * 300, NOW)
    bank.advance(batch, batch.weights < 0)
    other = searching(dense)
    other.advance(batch, batch.weights < 0)
    assert bank.recommend(NONE, NOW + 400 * MINUTE, 5).items[0] == "i500"
    assert_same(bank.recommend(NONE, NOW, 50), other.recommend(NONE, NOW, 50))


def test_nothing_learnt_means_no_candidates() -> None:
    assert ScoringBank(NUMBERS).recommend(ASKED["known"], NOW, 5).items == []


def test_there_are_more_items_than_leaders(dense: ModelBank) -> None:
    assert len(dense.items) > LEADERS, "or the tests above would not ask for what lies behind the lists"
