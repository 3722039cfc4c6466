"""The approximate index: it finds what exact search finds, items can be added, and where it could not find them there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_workers.models.deep.bank_sources import BankSources
from stream_workers.models.deep.indexing import make_index
from stream_workers.models.deep.item_vectors import ItemVectorScorer
from stream_workers.models.deep.nearest import RECALL, NearestItems
from stream_workers.models.deep.published import PublishedModel
from stream_workers.models.deep.scorer import F32, Query, Scorer
from stream_workers.models.deep.searched import Searched
from stream_workers.models.deep.vectors import UNKNOWN_BIAS
from stream_workers.models.online.columns import History
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.world import LARGEST_POOL
from stream_workers.models.scoring_bank import ScoringBank
from tests.test_searching import ASKED, NOW, searching, taught

ITEMS, WIDTH, BEST = 12_000, 32, 100


def tastes(count: int, seed: int, centres: int = 60) -> F32:
    """Vectors around so many centres, as learnt ones lie."""
    middle = np.random.default_rng(0).normal(size=(centres, WIDTH))
    rng = np.random.default_rng(seed)
    return (middle[rng.integers(centres, size=count)] + 0.5 * rng.normal(size=(count, WIDTH))).astype(np.float32)


def biases(count: int, seed: int) -> F32:
    return (2.0 * np.random.default_rng(seed).normal(size=count)).astype(np.float32)


def recall(index: NearestItems, vectors: F32, bias: F32, questions: F32) -> float:
    hits = 0
    for question in questions:
        exact = np.argsort(-(vectors @ question + bias))[:BEST].tolist()
        hits += len(set(exact).intersection(index.search(question, BEST).tolist()))
    return hits / (BEST * len(questions))


@pytest.fixture(scope="module")
def made() -> tuple[NearestItems, F32, F32]:
    vectors, bias = tastes(ITEMS, 1), biases(ITEMS, 2)
    index = NearestItems.made(vectors, bias, tastes(64, 3))
    assert index is not None
    return index, vectors, bias


def test_it_finds_the_best_hundred(made: tuple[NearestItems, F32, F32]) -> None:
    index, vectors, bias = made
    assert recall(index, vectors, bias, tastes(200, 4)) >= RECALL
    assert index.search(tastes(1, 5)[0], BEST).shape == (BEST,)


def test_added_items_are_found_at_once() -> None:
    vectors, bias = tastes(ITEMS, 1), biases(ITEMS, 2)
    index = NearestItems.made(vectors[:-3000], bias[:-3000], tastes(64, 3))
    assert index is not None
    before = recall(index, vectors, bias, tastes(100, 4))
    index.add(vectors[-3000:], bias[-3000:])
    assert before < 0.9
    assert len(index) == ITEMS
    assert recall(index, vectors, bias, tastes(100, 4)) >= RECALL


def test_an_item_that_is_too_long_is_refused(made: tuple[NearestItems, F32, F32]) -> None:
    index, vectors, _ = made
    with pytest.raises(ValueError, match="anew"):
        index.add(100 * vectors[:1], np.zeros(1, np.float32))
    assert len(index) == ITEMS


def test_vectors_without_order_get_no_index() -> None:
    noise = np.random.default_rng(6).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    assert NearestItems.made(noise, np.zeros(ITEMS, np.float32), noise[:64][::-1]) is None
    nothing = np.zeros((10, WIDTH), np.float32)
    assert NearestItems.made(nothing, np.zeros(10, np.float32), nothing) is None


class Constant(Scorer):
    """Says the same of every item; has no vectors."""

    kind = "constant"

    def score(self, queries: Sequence[Query]) -> F32:
        return np.zeros((len(queries), 5), np.float32)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        return {}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        return cls()


def test_few_items_and_other_scorers_need_none() -> None:
    few = ItemVectorScorer(tastes(50, 1), tastes(50, 1), biases(50, 2), 3.0, 20)
    make_index(few)
    make_index(constant := Constant(), 0)
    assert not few.searchable
    assert not constant.searchable


def published(items: int, exact_up_to: int) -> PublishedModel:
    """A model of item vectors; the last items have no vector of their own."""
    bias = biases(items, 2)
    bias[-5:] = UNKNOWN_BIAS
    scorer = ItemVectorScorer(tastes(items, 1, 20), tastes(items, 1, 20), bias, 3.0, 20)
    make_index(scorer, exact_up_to)
    return PublishedModel.of("item2vec", "20261128T000000Z-000000", scorer, [f"i{n}" for n in range(items)], [])


def test_a_bank_gets_the_same_candidates_by_search() -> None:
    dense, small = taught(), 800  # of 900 items, so that some are not known to the model
    exact, by_index = BankSources([published(small, 1 << 20)]), BankSources([published(small, 0)])
    history = ASKED["known"]
    scored = exact.ask(history, NOW, dense.items)
    searched = by_index.ask(history, NOW, dense.items)
    assert isinstance(scored, np.ndarray)
    assert isinstance(searched, Searched)
    wanted = dense.recommend(history, NOW, LARGEST_POOL, (), scored)
    found = searching(dense).recommend(history, NOW, LARGEST_POOL, (), searched)
    batch = wanted.names.index("batch_1")
    mine, theirs = ({item for item, place in zip(one.items, one.places[batch], strict=True) if place} for one in (found, wanted))
    assert len(mine & theirs) >= RECALL * len(theirs) > 0
    assert set(found.items[:10]) == set(wanted.items[:10])
    bank = searching(dense)
    names = ["i3", "i899", "nothing", "i850"]
    np.testing.assert_allclose(
        bank.scores(names, history, NOW, said=searched), bank.scores(names, history, NOW, said=scored), atol=0.05
    )


def test_codes_follow_a_table_that_grows() -> None:
    sources, table = BankSources([published(300, 0)]), IdTable(["i7", "x"])
    history = History(None, ["i7"], np.ones(1, np.uint8), np.array([NOW]))

    def best() -> list[int]:
        asked = sources.ask(history, NOW, table)
        assert isinstance(asked, Searched)
        return [code for code in asked.best(300)[0].tolist() if code >= 0]

    assert best() == [0]
    table.codes([f"i{n}" for n in range(100)])
    assert len(best()) > 50


def test_a_bank_that_scores_every_item_must_be_told_of_every_item() -> None:
    asked = BankSources([published(300, 0)]).ask(ASKED["known"], NOW, IdTable(["i1"]))
    with pytest.raises(TypeError, match="every item"):
        taught(items=10).recommend(ASKED["known"], NOW, 5, (), asked)
    assert ScoringBank(taught(items=10).settings).recommend(ASKED["known"], NOW, 5, (), asked).items == []
