"""What the candidates for one person cost among 100,000 items: searched, and with a score for every item."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.row import Row
from benchmarks.timing import milliseconds
from stream_workers.models.deep.nearest import NearestItems
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import History, Interactions
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.world import LARGEST_POOL
from stream_workers.models.scoring_bank import ScoringBank

ITEMS, USERS, EVENTS, TASTES, BATCH = 100_000, 20_000, 250_000, 200, 1000
START_MS, STEP_MS = 1_700_000_000_000, 200
ASKED, ROUNDS, WIDTH, BEST = 200, 200, 64, 100
F32 = NDArray[np.float32]


def run() -> list[Row]:
    """The same questions to a bank that scores all and to one that searches. Then vectors of a published model, with an index."""
    rng = np.random.default_rng(5)
    events = _events(rng)
    dense = _learned(events)
    searching = ScoringBank(dense.settings)
    searching.load(dense.state())
    searching.stand()
    people = [_history(events, user) for user in rng.integers(USERS, size=ASKED).tolist()]
    now = int(events.timestamps[-1])
    for history in people:
        assert set(searching.recommend(history, now, LARGEST_POOL).items) == set(dense.recommend(history, now, LARGEST_POOL).items)

    def ask(bank: ModelBank, n: int) -> None:
        bank.recommend(people[n % ASKED], now, LARGEST_POOL)

    every, found = (milliseconds(partial(ask, bank), ROUNDS) for bank in (dense, searching))
    standing = milliseconds(lambda _: searching.stand(), 20)
    return [
        Row("search/online models", found, "ms", "every item scored", found / every),
        Row("search/every item scored", every, "ms"),
        Row("search/worked out for each commit", standing, "ms", "every item scored", standing / every),
        *_published(rng),
    ]


def _published(rng: np.random.Generator) -> list[Row]:
    """The 100 nearest of 100,000 vectors."""
    centres = rng.normal(size=(TASTES, WIDTH))
    vectors, questions = (_around(rng, centres, count) for count in (ITEMS, 64 + ASKED))
    bias = rng.normal(size=ITEMS).astype(np.float32)
    index = NearestItems.made(vectors, bias, questions[:64])
    assert index is not None

    def exact(n: int) -> list[int]:
        scores = vectors @ questions[64 + n % ASKED] + bias
        return np.argpartition(-scores, BEST)[:BEST].tolist()

    def searched(n: int) -> list[int]:
        return index.search(questions[64 + n % ASKED], BEST).tolist()

    every, found = milliseconds(exact, ROUNDS), milliseconds(searched, ROUNDS)
    recall = float(np.mean([len(set(exact(n)).intersection(searched(n))) / BEST for n in range(ASKED)]))
    return [
        Row("search/published vectors", found, "ms", "product with all vectors", found / every),
        Row("search/product with all vectors", every, "ms"),
        Row("search/recall of the best 100", recall, "", wanted=">= 0.98"),
    ]


def _around(rng: np.random.Generator, centres: NDArray[np.float64], count: int) -> F32:
    near = centres[rng.integers(len(centres), size=count)]
    return (near + 0.7 * rng.normal(size=near.shape)).astype(np.float32)


def _events(rng: np.random.Generator) -> Interactions:
    """Every item once, then Zipf-popular ones, most of them of the person's own taste."""
    users = rng.integers(USERS, size=EVENTS)
    often = np.minimum((3 * rng.pareto(0.7, EVENTS)).astype(np.int64), ITEMS - 1)
    each = ITEMS // TASTES
    own = (users % TASTES) * each + np.minimum(often, each - 1)
    items = np.where(rng.random(EVENTS) < 0.6, own, rng.permutation(ITEMS)[often])
    items[:ITEMS] = np.arange(ITEMS)
    times = START_MS + STEP_MS * np.arange(EVENTS)
    return Interactions.taken([f"u{u}" for u in users.tolist()], [f"i{i}" for i in items.tolist()], times)


def _learned(events: Interactions) -> ModelBank:
    """A bank that has learnt all of it, the blend from every fiftieth event."""
    bank = ModelBank(BankSettings())
    for start in range(0, EVENTS, BATCH):
        part = events.part(start, start + BATCH)
        bank.advance(part, np.arange(BATCH) % 50 == 0)
    return bank


def _history(events: Interactions, user: int) -> History:
    mine = [at for at, one in enumerate(events.users) if one == f"u{user}"][::-1][:100]
    return History(f"u{user}", [events.items[at] for at in mine], np.ones(len(mine), np.uint8), events.timestamps[mine])
