"""Published batch models as sources of the blend: what they are told, what they must not know, and that the blend uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_workers.models.deep.bank_sources import BankSources
from stream_workers.models.deep.published import PublishedModel
from stream_workers.models.deep.scorer import F32, Query, Scorer
from stream_workers.models.online.bank import OWN_MODELS, ModelBank
from stream_workers.models.online.blend import learn_scale, new_blend, standardise
from stream_workers.models.online.columns import History, Interactions
from stream_workers.models.online.settings import BankSettings

SMALL = BankSettings(vector_size=8, mf_size=8, covisit_neighbours=32)
ITEMS = tuple(f"i{n}" for n in range(30))
START = 1_700_000_000_000


class Successor(Scorer):
    """Knows that after item n comes n + 1, and nothing else; remembers what it was asked."""

    kind = "successor"

    def __init__(self, items: int) -> None:
        self.items = items
        self.asked: list[Query] = []

    def score(self, queries: Sequence[Query]) -> F32:
        self.asked += queries
        scores = np.zeros((len(queries), self.items), np.float32)
        for row, query in zip(scores, queries, strict=True):
            if len(query.items):
                row[(query.items[-1] + 1) % self.items] = 5.0
        return scores

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        return {}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        return cls(len(ITEMS))


def model(items: Sequence[str] = ITEMS, users: Sequence[str] = ()) -> PublishedModel:
    return PublishedModel.of("successor", "20261123T120000Z-000000", Successor(len(items)), items, users)


def asked(published: PublishedModel) -> list[Query]:
    scorer = published.scorer
    assert isinstance(scorer, Successor)
    return scorer.asked


def stream(events: int, seed: int = 1) -> Interactions:
    """People who walk through the items in order, each from somewhere else."""
    rng = np.random.default_rng(seed)
    walkers = rng.integers(0, 40, events)
    places = rng.integers(0, len(ITEMS), 40)
    users, items = [], []
    for walker in walkers.tolist():
        users.append(f"u{walker}")
        items.append(ITEMS[places[walker]])
        places[walker] = (places[walker] + 1) % len(ITEMS)
    return Interactions.taken(users, items, START + 60_000 * np.arange(events))


def test_a_model_is_told_what_was_taken_before_and_nothing_later() -> None:
    """However the stream is cut, the query of each ranked event ends with what its person took last before it."""
    batch = stream(300)
    ranked = np.ones(300, np.bool_)
    queries = []
    for cut in (300, 7):
        bank, published = ModelBank(SMALL), model()
        bank.sources = BankSources([published])
        for start in range(0, 300, cut):
            bank.advance(batch.part(start, start + cut), ranked[start : start + cut])
        queries.append(asked(published))
    last: dict[str, list[int]] = {}
    for e, (whole, cut_up) in enumerate(zip(*queries, strict=True)):
        taken = last.setdefault(batch.users[e], [])
        different = list(dict.fromkeys(reversed(taken)))[::-1]
        assert whole.now == batch.timestamps[e]
        assert cut_up.items.tolist()[-5:] == whole.items.tolist()[-5:] == different[-5:]
        assert np.all(whole.timestamps < batch.timestamps[e])
        taken.append(ITEMS.index(batch.items[e]))


def test_the_blend_learns_to_follow_a_source_that_is_right() -> None:
    """Items come in a fixed order, which the source knows from the start and the others find out."""
    batch = stream(160)
    hits = {}
    for name, sources in (("without", None), ("with", BankSources([model()]))):
        bank = ModelBank(SMALL._replace(repeats=True))
        bank.sources = sources
        outcome = bank.advance(batch, np.ones(160, np.bool_))
        assert outcome.names == (*OWN_MODELS, "batch_1")[: len(outcome.names)]
        column = outcome.names.index("blend")
        hits[name] = float((outcome.ranks[40:, column] == 1).mean())
    assert hits["with"] > hits["without"] + 0.05, hits


def test_a_source_is_ranked_beside_the_others() -> None:
    bank = ModelBank(SMALL._replace(repeats=True))
    bank.sources = BankSources([model()])
    outcome = bank.advance(stream(400), np.ones(400, np.bool_))
    known = (outcome.history_length > 0) & (outcome.item_count > 0)
    assert (outcome.ranks[known, outcome.names.index("batch_1")] == 1).mean() > 0.95


def test_a_shadow_is_judged_and_changes_nothing() -> None:
    batch, ranked = stream(300), np.ones(300, np.bool_)
    outcomes = {}
    for name, sources in (
        ("none", None), ("source", BankSources([model()])), ("shadow", BankSources([], [model()])),
        ("both", BankSources([model(ITEMS[:15])], [model(), model(ITEMS[:5])])),
    ):  # fmt: skip
        bank = ModelBank(SMALL)
        bank.sources = sources
        outcomes[name] = bank.advance(batch, ranked)
    assert outcomes["shadow"].names == (*OWN_MODELS, "shadow_1")
    assert outcomes["both"].names == (*OWN_MODELS, "batch_1", "shadow_1", "shadow_2")
    ours = outcomes["shadow"].only(OWN_MODELS)
    assert np.array_equal(ours.ranks, outcomes["none"].ranks)
    assert np.array_equal(ours.top, outcomes["none"].top)
    alone, judged = outcomes["source"].only(["batch_1"]), outcomes["shadow"].only(["shadow_1"])
    assert np.array_equal(judged.ranks, alone.ranks)
    assert np.array_equal(judged.top[:, :, 0], alone.top[:, :, 0])
    assert np.array_equal(outcomes["both"].only(["shadow_1"]).ranks, judged.ranks)
    assert not np.array_equal(outcomes["both"].only(["shadow_2"]).ranks, judged.ranks)


@pytest.mark.parametrize("known", [ITEMS[:10], (), ("other",)])
def test_items_that_a_model_does_not_know_are_never_its_proposals(known: Sequence[str]) -> None:
    bank = ModelBank(SMALL)
    bank.advance(stream(200), np.zeros(200, np.bool_))
    sources = BankSources([model(known or ("none",))])
    history = History("u1", ["i3"], np.ones(1, np.uint8), np.array([START + 10_000_000]))
    said = sources.of(history, START + 20_000_000, bank.items)
    assert said.shape == (1, len(bank.items))
    assert np.isfinite(said).all()
    strangers = [code for code, item in enumerate(bank.items.ids) if item not in known]
    assert np.all(said[0, strangers] == said.min())


def test_no_sources_change_nothing() -> None:
    """An empty set is as none: the same ranks, the same state."""
    outcomes = []
    for sources in (None, BankSources([])):
        bank = ModelBank(SMALL)
        bank.sources = sources
        outcomes.append(bank.advance(stream(200), np.ones(200, np.bool_)))
    assert np.array_equal(outcomes[0].ranks, outcomes[1].ranks)
    assert outcomes[1].names == OWN_MODELS


def test_new_items_of_the_bank_are_found_in_the_model_and_forgotten_ones_move() -> None:
    """Rows are kept by the bank's table of items: one table grows, another one begins anew."""
    sources, published = BankSources([model()]), ModelBank(SMALL)
    first, second = stream(20), stream(200, seed=2)
    history = History(None, ["i3"], np.ones(1, np.uint8), np.array([START]))
    for batch in (first, second):
        published.advance(batch, np.zeros(len(batch.users), np.bool_))
        said = sources.of(history, START, published.items)[0]
        best = published.items.ids[int(said.argmax())] if published.items.code("i4") >= 0 else "i4"
        assert best == "i4"
    other = ModelBank(SMALL)
    other.advance(stream(200, seed=3), np.zeros(200, np.bool_))
    assert other.items.ids[int(sources.of(history, START, other.items)[0].argmax())] == "i4"


def test_a_feature_that_was_not_there_before_says_nothing_and_then_begins_at_its_own_scale() -> None:
    """Otherwise a version that is published after a million events would fill its features with the largest values allowed."""
    rng = np.random.default_rng(1)
    blend = new_blend(2, 4, 1, rng)
    for _ in range(500):
        x = np.stack((rng.normal(3, 2, 50), np.zeros(50))).astype(np.float32)
        learn_scale(blend, x, 50)
    x = np.stack((rng.normal(3, 2, 50), rng.normal(-100, 40, 50))).astype(np.float32)
    before = x.copy()
    standardise(blend, before, 50)
    assert np.all(before[1] == 0), "the learner has not met it yet"
    learn_scale(blend, x, 50)
    standardise(blend, x, 50)
    assert np.abs(x.mean(axis=1)).max() < 0.5
    assert np.abs(x.std(axis=1) - 1).max() < 0.2
