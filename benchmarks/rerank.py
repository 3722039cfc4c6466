"""What reranking costs a request: 20 items of a pool of 200 with three categories and four tags each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.row import Row
from benchmarks.timing import milliseconds
from serving.ranking.calibration import Calibration, mixes
from serving.ranking.content_vectors import content_vectors
from serving.ranking.diversity import Redundancy, Volume
from serving.ranking.exposure import Caps, Exposure, grouped
from serving.ranking.greedy import greedy

POOL, K, ROUNDS, DIVERSITY = 200, 20, 200, 0.4
BOUND = "<= 2 ms"
F64 = NDArray[np.float64]


def run() -> list[Row]:
    """Each method by itself, all together, and beside them the textbook's loops over pairs."""
    rng = np.random.default_rng(9)
    categories = [[f"c{n}" for n in rng.choice(20, 3, replace=False)] for _ in range(POOL)]
    terms = [own + [f"t{n}" for n in rng.choice(300, 4, replace=False)] for own in categories]
    relevance, vectors = np.linspace(1, 0, POOL), content_vectors(terms)
    mix, shares = mixes({f"c{n}": 1.0 + n for n in range(8)}, categories)
    groups, targets = grouped([own[0] for own in categories])
    assert greedy(relevance, [Redundancy(vectors, DIVERSITY)], K).tolist() == _loops(relevance, vectors)
    textbook = milliseconds(lambda _: _loops(relevance, vectors), 4)

    def row(name: str, ask: Callable[[], object], wanted: str = "") -> Row:
        spent = milliseconds(lambda _: ask(), ROUNDS)
        return Row(f"rerank/{name}", spent, "ms", "MMR in loops", spent / textbook, wanted)

    return [
        row("mmr", lambda: greedy(relevance, [Redundancy(vectors, DIVERSITY)], K), BOUND),
        row("mmr with its vectors", lambda: greedy(relevance, [Redundancy(content_vectors(terms), DIVERSITY)], K), BOUND),
        row("dpp", lambda: greedy(relevance, [Volume(vectors, DIVERSITY)], K)),
        row("calibration", lambda: greedy(relevance, [Calibration(mix, shares, DIVERSITY)], K)),
        row("exposure", lambda: greedy(relevance, [Exposure(groups, targets, DIVERSITY)], K)),
        row("caps", lambda: greedy(relevance, [], K, Caps(categories, {}, 3))),
        row("mmr, calibration and exposure", lambda: greedy(relevance, [
            Redundancy(vectors, DIVERSITY), Calibration(mix, shares, DIVERSITY), Exposure(groups, targets, DIVERSITY),
        ], K)),
        Row("rerank/MMR in loops", textbook, "ms"),
    ]  # fmt: skip


def _loops(relevance: F64, vectors: F64) -> list[int]:
    """Maximal marginal relevance as it is usually written down."""
    chosen: list[int] = []
    for _ in range(K):
        best, most = -1, -np.inf
        for item in range(POOL):
            if item not in chosen:
                likest = max((float(vectors[item] @ vectors[other]) for other in chosen), default=0.0)
                value = (1 - DIVERSITY) * relevance[item] - DIVERSITY * likest
                if value > most:
                    best, most = item, value
        chosen.append(best)
    return chosen
