"""What the models say of items that they did not propose to somebody."""

from __future__ import annotations

import numpy as np

from schemas.events import EventType
from stream_workers.models.online.columns import History, Interactions
from stream_workers.models.scoring_bank import ScoringBank
from tests.test_serving_world import NOW, NUMBERS

MANY = [f"i{n}" for n in range(1500)]


def learned_bank() -> ScoringBank:
    """More items than a pool holds, each taken twice, by people with two tastes."""
    rng, bank = np.random.default_rng(4), ScoringBank(NUMBERS)
    items = [*rng.permutation(len(MANY)).tolist(), *rng.permutation(len(MANY)).tolist()]
    users = [f"u{2 * int(rng.integers(50)) + item % 2}" for item in items]
    times = NOW - 1000 * np.arange(len(items))[::-1]
    bank.advance(Interactions.taken(users, [MANY[item] for item in items], times), np.arange(len(items)) % 10 == 0)
    return bank


def clicked(*items: str) -> History:
    return History("ann", list(items), np.full(len(items), EventType.CLICK, np.uint8), NOW - 1000 * np.arange(len(items)))


def test_what_is_proposed_keeps_its_score_and_everything_else_gets_one() -> None:
    bank = learned_bank()
    proposal = bank.recommend(clicked("i3", "i7"), NOW, 640, ["i9"])
    scores = dict(zip([*MANY, "?"], bank.scores([*MANY, "?"], clicked("i3", "i7"), NOW, ["i9"]).tolist(), strict=True))
    assert len(proposal.items) < len(MANY) / 2
    assert {item: scores[item] for item in proposal.items} == dict(zip(proposal.items, proposal.scores.tolist(), strict=True))
    assert [item for item, score in scores.items() if np.isnan(score)] == ["i3", "i7", "i9"]
    assert [item for item, score in scores.items() if score == -np.inf] == ["?"]
    others = [scores[item] for item in {*MANY} - {*proposal.items, "i3", "i7", "i9"}]
    assert np.isfinite(others).all()
    assert len({*others}) > len(others) / 2, "they are told from each other"


def test_what_was_had_has_a_score_where_it_may_come_again_and_what_was_refused_has_none() -> None:
    bank = learned_bank()
    history = clicked("i3", "i7")
    history.types[0] = EventType.DISLIKE
    refused, had = bank.scores(["i3", "i7"], history, NOW, again=True)
    assert np.isnan(refused)
    assert np.isfinite(had)


def test_the_order_and_the_company_of_the_others_do_not_matter() -> None:
    bank = learned_bank()
    some = MANY[100:140]
    alone = [bank.scores([item], clicked("i3"), NOW)[0] for item in some]
    together = bank.scores(some, clicked("i3"), NOW)
    reversed_ = bank.scores(some[::-1], clicked("i3"), NOW)[::-1]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    np.testing.assert_allclose(together, reversed_, rtol=1e-5)


def test_nothing_is_left_behind() -> None:
    asked, fresh = learned_bank(), learned_bank()
    asked.scores(MANY, clicked("i3", "i7"), NOW, ["i9"])
    for history in (clicked("i12", "i20"), clicked("i3", "i7")):
        again, first = asked.recommend(history, NOW, 640), fresh.recommend(history, NOW, 640)
        assert again.items == first.items
        assert again.scores.tolist() == first.scores.tolist()
        assert again.places.tolist() == first.places.tolist()


def test_no_items_have_no_scores() -> None:
    assert learned_bank().scores([], clicked("i3"), NOW).shape == (0,)
    assert ScoringBank(NUMBERS).scores(["i3"], clicked("i3"), NOW).tolist() == [-np.inf]
