"""What the bank asks, shows and leaves out: first takes alone (mode A) or repeats too (mode B), refusals, and taking them back."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.events import EventType
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import History, Outcome
from stream_workers.models.online.settings import BankSettings
from tests.online_models import START, told

CLICK, DISLIKE, HIDE = EventType.CLICK, EventType.DISLIKE, EventType.HIDE
NUMBERS = BankSettings(max_events=256, max_items=64, max_users=64, covisit_neighbours=8)


def bank_of(repeats: bool) -> ModelBank:
    """Eight people who took i0 to i5, and i0 most."""
    bank = ModelBank(NUMBERS._replace(repeats=repeats))
    rows = [(f"u{n}", f"i{i}", CLICK, START + 10 * n + i) for n in range(8) for i in range(6)]
    learn(bank, [*rows, *[(f"v{n}", "i0", CLICK, START + 100 + n) for n in range(3)]])
    return bank


def learn(bank: ModelBank, rows: list[tuple[str, str, int, int]], undo: tuple[int, ...] = ()) -> Outcome:
    batch = told(rows, undo)
    return bank.advance(batch, (batch.weights > 0) & ~batch.undo)


def listed(bank: ModelBank, outcome: Outcome, row: int = -1) -> set[str]:
    """Items that any model has in its list."""
    return {bank.items.ids[code] for code in np.unique(outcome.top[row]) if code >= 0}


def test_mode_a_asks_for_the_first_time_alone() -> None:
    bank = bank_of(repeats=False)
    outcome = learn(bank, [("u1", "i0", CLICK, START + 200), ("eve", "i0", CLICK, START + 201), ("eve", "i0", CLICK, START + 202)])
    assert outcome.events.tolist() == [1]
    assert learn(bank, [("eve", "i1", CLICK, START + 203)]).events.tolist() == [0]


def test_mode_b_asks_for_repeats_too_and_shows_them() -> None:
    bank = bank_of(repeats=True)
    outcome = learn(bank, [("u1", "i0", CLICK, START + 200), ("u1", "i0", CLICK, START + 201)])
    assert outcome.events.tolist() == [0, 1]
    assert (outcome.ranks > 0).all()
    assert listed(bank, outcome) == {f"i{n}" for n in range(6)}


@pytest.mark.parametrize("kind", [DISLIKE, HIDE])
@pytest.mark.parametrize("repeats", [False, True])
def test_what_was_refused_is_not_shown_until_that_is_taken_back(repeats: bool, kind: EventType) -> None:
    bank = bank_of(repeats)
    learn(bank, [("eve", "i2", kind, START + 300)])
    assert "i2" not in listed(bank, learn(bank, [("eve", "i1", CLICK, START + 301)]))
    assert learn(bank, [("eve", "i2", CLICK, START + 302)]).events.tolist() == [], "not among what could be shown: no question"
    learn(bank, [("adam", "i2", kind, START + 303)])
    learn(bank, [("adam", "i2", kind, START + 304)], undo=(0,))
    assert "i2" in listed(bank, learn(bank, [("adam", "i1", CLICK, START + 305)]))
    outcome = learn(bank, [("adam", "i2", CLICK, START + 306)])
    assert outcome.events.tolist() == [0]
    assert (outcome.ranks > 0).all()


@pytest.mark.parametrize("repeats", [False, True])
def test_of_one_item_twice_in_a_history_the_newest_counts(repeats: bool) -> None:
    bank = bank_of(repeats)

    def proposed(*kinds: EventType) -> list[str]:
        times = START + 400 - np.arange(len(kinds))
        return bank.recommend(History("eve", ["i2"] * len(kinds), np.array(kinds, np.uint8), times), START + 400, 10).items

    assert ("i2" in proposed(CLICK, DISLIKE)) is repeats
    assert "i2" not in proposed(DISLIKE, CLICK)
    assert len(proposed(CLICK, DISLIKE)) == (6 if repeats else 5)


def test_the_popularity_of_a_list_is_that_of_the_moment() -> None:
    """Counted by hand: before the first question i0 has 11 events and the others 8; the batch itself adds to i0 alone."""
    bank = bank_of(repeats=True)
    outcome = learn(bank, [(f"w{n}", "i0", CLICK, START + 500 + n) for n in range(20)])
    shown = bank.names.index("popularity_all_time")
    expected = [(11 + n + 5 * 8) / 6 for n in range(20)]
    assert outcome.top_popularity[:, shown] == pytest.approx(expected)
