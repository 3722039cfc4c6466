"""What the blend sees beside the scores of the sources: words of titles, and what people like this one take."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_workers.models.online.audience import GROUPS, audience_counts, learn_audience, new_audience
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.calibration import calibration_ratios, learn_calibration, new_calibration
from stream_workers.models.online.columns import History
from stream_workers.models.online.features import FEATURES
from stream_workers.models.online.title_words import HASHES, RECENT, WORDS, title_overlap, word_hashes
from tests.online_models import MINUTE, SMALL, START, clicks, full_bank, learn

HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
NOW = START + 69 * MINUTE
TITLES = ["The Hobbit: Unexpected Journey (2012)", "Hobbit Journey (2013)", "Alien (1979)", "The Journey", "", "Aliens"]


def overlaps(history: list[int], titles: list[str] = TITLES) -> list[float]:
    words = np.full((len(titles), WORDS), -1, np.int32)
    for n, title in enumerate(titles):
        hashes = word_hashes(title)
        words[n, : len(hashes)] = hashes
    shares, out = np.zeros(HASHES, np.float32), np.full(len(titles), np.nan, np.float32)
    items_with = np.bincount(words[words >= 0], minlength=HASHES).astype(np.int32)
    pool = np.arange(len(titles), dtype=np.int32)
    title_overlap(words, items_with, np.array(history, np.int32), pool, shares, out)
    assert not shares.any(), "the next question begins with zeros"
    found: list[float] = out.tolist()
    return found


def test_titles_that_share_words_overlap_and_rare_words_count_more() -> None:
    hobbit, journey, unexpected = 2**-0.5, 3**-0.5, 1.0
    expected = [hobbit + journey + unexpected, hobbit + journey, 0, journey, 0, 0]
    assert overlaps([0]) == pytest.approx(expected)
    assert overlaps([0, 3]) == pytest.approx([hobbit + 2 * journey + unexpected, hobbit + 2 * journey, 0, 2 * journey, 0, 0])
    assert overlaps([]) == overlaps([4]) == [0] * 6


def test_only_recent_items_count() -> None:
    titles = ["Hobbit", *(f"{'abcdefghijkl'[n] * 4}" for n in range(12))]
    assert overlaps([*range(1, RECENT + 1), 0], titles)[0] == 0
    assert overlaps([*range(1, RECENT), 0], titles)[0] == 1


@pytest.mark.parametrize("title", [None, "", "1984", "(2001)", "It", "\ud800\ud800\ud800\ud800", "word " * 100_000])
def test_titles_of_any_kind_are_bounded(title: str | None) -> None:
    assert len(word_hashes(title)) <= 1
    many = word_hashes(" ".join(f"{a}{b}word" for a in "abcdefgh" for b in "klmnopqr"))
    assert len(many) == WORDS
    assert all(0 <= word < HASHES for word in many)


def test_a_bank_counts_the_words_of_the_items_it_has() -> None:
    bank = ModelBank(SMALL)
    bank.describe("a", (), "Alien (1979)")
    bank.describe("never taken", (), "Alien Returns")
    learn(bank, clicks(["ann", "bob"], ["a", "b"]))
    bank.describe("b", (), "Return of the Alien")
    [alien], returns = word_hashes("Alien"), word_hashes("Return")
    counts = bank.state()["content.items_with"]
    assert (counts[alien], counts[returns].tolist(), counts.sum()) == (2, [1], 3)
    bank.describe("b", (), "Something else")
    assert (counts[alien], counts[returns].tolist(), counts.sum()) == (1, [0], 3)


def test_forgotten_items_no_longer_count() -> None:
    bank = full_bank()
    learn(bank, clicks(["u1"], ["one too many"]))
    state = bank.state()
    words, used = state["content.words"], len(bank.items)
    assert 0 < used < 40
    assert (words[used:] == -1).all()
    expected = np.bincount(words[words >= 0], minlength=HASHES)
    assert state["content.items_with"].tolist() == expected.tolist()
    assert expected.max() == used - 1, "every film is called Film but the last"


def audience_of(events: list[tuple[int, float, int, float]]) -> NDArray[np.float32]:
    """Counts float32[items, groups] at the last event's time; events: history, idle, item, time."""
    audience, out = new_audience(3), np.zeros(3, np.float32)
    for history, idle, item, time in events:
        learn_audience(audience, history, idle, item, time)
    columns = []
    for group in range(GROUPS):
        audience_counts(audience, group, events[-1][3], np.arange(3, dtype=np.int32), out)
        columns.append(out.copy())
    return np.array(columns).T


def test_counts_are_those_of_the_group_and_fade() -> None:
    counts = audience_of(
        [(0, 0.0, 0, START), (0, 0.0, 0, START + 4 * DAY), (5, HOUR, 0, START + 4 * DAY), (20, MINUTE, 1, START + 8 * DAY)]
    )
    assert counts[0].tolist() == [0.75, 0, 0.5, 0, 0.75, 0, 0.5, 0]
    assert counts[1].tolist() == [0, 0, 0, 1, 0, 1, 0, 0]
    assert not counts[2].any()


@pytest.mark.parametrize("late", [START - 10_000 * DAY, START + 10_000 * DAY])
def test_clocks_that_jump_leave_counts_finite(late: float) -> None:
    counts = audience_of([(0, 0.0, 0, START), (3, -5.0 * DAY, 1, late), (30, 9e99, 2, START)])
    assert np.isfinite(counts).all()
    assert (counts >= 0).all()


def seen(bank: ModelBank, user: str | None, history: list[str], now: int, feature: str) -> dict[str, float]:
    known = History(user, history, np.ones(len(history), np.uint8), np.full(len(history), now - 10 * MINUTE, np.int64))
    proposal = bank.recommend(known, now, 40, features=True)
    assert proposal.features is not None
    return dict(zip(proposal.items, proposal.features[FEATURES.index(feature)].tolist(), strict=True))


def schooled() -> ModelBank:
    """Ten regulars who took films 0 to 15, and nine newcomers who took the last one."""
    bank = ModelBank(SMALL)
    for n in range(20):
        bank.describe(f"i{n}", (), "Wizard School (2001)" if n in {3, 4} else f"{'abcdefghijklmnopqrst'[n] * 5} (2001)")
    users = [*[f"u{n}" for n in range(10)] * 6, *(f"new{n}" for n in range(9))]
    learn(bank, clicks(users, [f"i{(n // 10 + n) % 16}" for n in range(60)] + ["i19"] * 9))
    return bank


def test_the_sequel_of_what_somebody_took_stands_out() -> None:
    titles = seen(schooled(), None, ["i3"], NOW, "title_overlap")
    assert max(titles, key=lambda item: titles[item]) == "i4"
    assert len(set(seen(schooled(), None, [], NOW, "title_overlap").values())) == 1, "for nobody else"


def test_popularity_is_that_among_people_alike() -> None:
    newcomers = seen(schooled(), None, [], NOW, "log_popularity_like_them")
    assert max(newcomers, key=lambda item: newcomers[item]) == "i19"
    regulars = seen(schooled(), None, ["i1", "i2", "i5"], NOW, "log_popularity_like_them")
    assert min(regulars, key=lambda item: regulars[item]) == "i19"


@pytest.mark.parametrize(
    "feature", ["title_overlap", "log_popularity_like_them", "log_popularity_at_their_pace", "log_calibration"]
)
def test_a_replica_sees_what_the_learner_sees(feature: str) -> None:
    bank, replica = schooled(), ModelBank(SMALL)
    replica.load({name: array.copy() for name, array in bank.state().items()})
    for history in ([], ["i3", "i7"]):
        expected = seen(bank, None, history, NOW, feature)
        assert seen(replica, None, history, NOW, feature) == expected
    assert len(set(expected.values())) > 1, "or it would say nothing"


def test_calibration_is_takes_over_what_was_expected() -> None:
    calibration, pool, out = new_calibration(5), np.array([2, 0, 4], np.int32), np.zeros(3, np.float32)
    for _ in range(2):
        learn_calibration(calibration, pool, np.array([0.25, -0.5, 0.25], np.float32), 1)
    calibration_ratios(calibration, pool, out)
    assert out.tolist() == pytest.approx([1 / 1.5, 3 / 2, 1 / 1.5])
    assert calibration.taken.tolist() == [2, 0, 0, 0, 0]


def test_calibration_forgets_what_was_long_ago() -> None:
    calibration, pool, out = new_calibration(2), np.array([0, 1], np.int32), np.zeros(2, np.float32)
    for target, events in ((0, 5000), (1, 40)):
        for _ in range(events):
            learn_calibration(calibration, pool, np.array([0.5 - (target == 0), 0.5 - (target == 1)], np.float32), target)
    calibration_ratios(calibration, pool, out)
    assert out[0] < 0.5
    assert out[1] > 1.5
    assert max(calibration.taken.max(), calibration.expected.max()) <= 20
