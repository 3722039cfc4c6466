"""One order for several people: cases by hand, and what must hold whoever they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.ranking.groups import F64, Strategy, aggregated, group_order, ranks, satisfaction

STRATEGIES: tuple[Strategy, ...] = ("average", "least_misery", "most_pleasure")
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 8))
SCORES = SHAPES.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=st.integers(-3, 3).map(float)))
GAINS = SHAPES.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=st.floats(0, 1)))
DISTINCT = st.permutations(range(7)).map(lambda order: np.array([order], np.float64))
HOW = st.sampled_from(STRATEGIES)


def names_of(gains: F64) -> list[str]:
    return [f"i{column}" for column in range(gains.shape[1])]


def test_satisfaction_by_hand() -> None:
    gains = satisfaction(ranks(np.array([[9.0, 5.0, 5.0, 1.0], [0.1, 0.2, 0.3, 0.4]])))
    middle = 1 - math.log(2.5) / math.log(4)
    assert gains[0].tolist() == pytest.approx([1.0, middle, middle, 0.0])
    assert gains[1].tolist() == pytest.approx([0.0, 1 - math.log(3) / math.log(4), 0.5, 1.0])


@pytest.mark.parametrize(
    ("strategy", "scores", "order"),
    [
        ("average", [0.5, 0.6, 0.65, 0.5], ["c", "b", "a", "d"]),
        ("least_misery", [0.0, 0.5, 0.3, 0.5], ["b", "d", "c", "a"]),
        ("most_pleasure", [1.0, 0.7, 1.0, 0.5], ["c", "a", "b", "d"]),
    ],
)
def test_each_strategy_by_hand(strategy: Strategy, scores: list[float], order: list[str]) -> None:
    """Ann loves a, which Bob cannot stand; c pleases her and not him much; both can live with b, and with d a little less."""
    gains = np.array([[1.0, 0.7, 1.0, 0.5], [0.0, 0.5, 0.3, 0.5]])
    assert aggregated(gains, strategy).tolist() == pytest.approx(scores)
    assert ["abcd"[at] for at in group_order(gains, strategy, list("abcd"))] == order


@given(GAINS, HOW, st.data())
def test_who_likes_an_item_better_never_makes_it_worse(gains: F64, how: Strategy, draw: st.DataObject) -> None:
    member = draw.draw(st.integers(0, gains.shape[0] - 1))
    item = draw.draw(st.integers(0, gains.shape[1] - 1))
    better = gains.copy()
    better[member, item] = draw.draw(st.floats(gains[member, item], 1))
    before, after = aggregated(gains, how), aggregated(better, how)
    assert after[item] >= before[item]
    assert np.delete(after, item).tolist() == np.delete(before, item).tolist()
    place = [group_order(g, how, names_of(g)).tolist().index(item) for g in (gains, better)]
    assert place[1] <= place[0]


@given(DISTINCT, HOW)
def test_one_member_gets_their_own_order(scores: F64, how: Strategy) -> None:
    order = group_order(satisfaction(ranks(scores)), how, names_of(scores))
    assert order.tolist() == np.argsort(-scores[0]).tolist()


@given(SCORES, HOW, st.randoms(use_true_random=False))
def test_the_order_of_the_members_changes_nothing(scores: F64, how: Strategy, dice: object) -> None:
    gains = satisfaction(ranks(scores))
    turned = gains[dice.sample(range(len(gains)), len(gains))]  # type: ignore[attr-defined]
    assert aggregated(turned, how).tolist() == aggregated(gains, how).tolist()
    assert group_order(turned, how, names_of(gains)).tolist() == group_order(gains, how, names_of(gains)).tolist()


@given(SCORES, HOW, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_changes_nothing(scores: F64, how: Strategy, dice: object) -> None:
    names, columns = names_of(scores), list(range(scores.shape[1]))
    dice.shuffle(columns)  # type: ignore[attr-defined]
    turned = [names[column] for column in columns]
    one = [names[at] for at in group_order(satisfaction(ranks(scores)), how, names)]
    other = [turned[at] for at in group_order(satisfaction(ranks(scores[:, columns])), how, turned)]
    assert one == other


@given(SCORES)
def test_satisfaction_follows_the_scores_and_stays_between_none_and_full(scores: F64) -> None:
    gains = satisfaction(ranks(scores))
    assert ((gains >= 0) & (gains <= 1)).all()
    for row, gained in zip(scores, gains, strict=True):
        better = row[:, None] > row[None, :]
        assert (gained[:, None] > gained[None, :])[better].all()
        assert (gained[:, None] == gained[None, :])[row[:, None] == row[None, :]].all()


@given(SCORES, st.floats(0.01, 100), st.floats(-10, 10))
def test_how_sure_a_model_is_of_somebody_does_not_count(scores: F64, scale: float, offset: float) -> None:
    stretched = scores.copy()
    stretched[0] = stretched[0] * scale + offset
    assert ranks(stretched).tolist() == ranks(scores).tolist()


@given(GAINS)
def test_least_is_at_most_the_average_is_at_most_the_most(gains: F64) -> None:
    least, mean, most = (aggregated(gains, how) for how in ("least_misery", "average", "most_pleasure"))
    assert (least <= mean + 1e-12).all()
    assert (mean <= most + 1e-12).all()
