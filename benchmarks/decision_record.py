"""What it costs to keep what a request decided: making the record, compressing it, and its bytes."""

from __future__ import annotations

import numpy as np
import orjson

from benchmarks.row import Row
from benchmarks.timing import milliseconds
from feature_store.user_blob import HistoryEntry, UserState
from serving.answers import Recommendations, RecommendedItem
from serving.blended import LARGEST_POOL, Blended
from serving.decision import Decision
from serving.decision_record import pack, record_of
from serving.interests import Interests
from serving.plan import Plan
from serving.presentation import MODELS, NO_FRESHNESS
from serving.query import RecommendationQuery
from serving.ranking.seeds import Pairs, Seeds
from stream_workers.models.online.columns import Proposal
from stream_workers.models.online.features import FEATURES
from stream_workers.models.online.sources import SOURCES

PROPOSED, ASKED = 100, 50
BASELINE = "JSON of the answer"


def run() -> list[Row]:
    """The largest pool that the blend has, fifty past events, a list of ten."""
    answer: Recommendations = {
        "request_id": "01KDWCJ2QR0000000000000000", "user_id": "42", "items": [_place(n) for n in range(1, 11)], "models": MODELS,
        "freshness": NO_FRESHNESS, "experiment": None, "degraded": None,
    }  # fmt: skip
    floor = milliseconds(lambda _: orjson.dumps(answer), ASKED)
    return [*_rows("", decided(False), answer, floor), *_rows(" with features", decided(True), answer, floor)]


def _rows(name: str, decision: Decision, answer: Recommendations, floor: float) -> list[Row]:
    record = record_of(decision, answer, {}, "42", 1)
    make = milliseconds(lambda _: record_of(decision, answer, {}, "42", 1), ASKED)
    squeeze = milliseconds(lambda _: pack(record), ASKED)
    return [
        Row(f"decision_record/made{name}", make, "ms", BASELINE, make / floor),
        Row(f"decision_record/packed{name}", squeeze, "ms", BASELINE, squeeze / floor),
        Row(f"decision_record/bytes{name}", len(pack(record)) / 1000, "kB"),
    ]


def decided(features: bool, sampled: bool = False) -> Decision:
    """A made-up decision of the largest pool there can be; the best ten are chosen.

    Args:
        features: the blend told them, and the query asks for them. sampled: the impression carries them.
    """
    rng = np.random.default_rng(1)
    places = np.zeros((len(SOURCES), LARGEST_POOL), np.int32)
    for row in places:
        row[rng.permutation(LARGEST_POOL)[:PROPOSED]] = np.arange(1, PROPOSED + 1)
    seen = rng.normal(size=(len(FEATURES), LARGEST_POOL)).astype(np.float32) if features else None
    scores = np.sort(rng.normal(size=LARGEST_POOL).astype(np.float32))[::-1].copy()
    items = [str(item) for item in rng.permutation(10**6)[:LARGEST_POOL]]
    proposal = Proposal(items, np.arange(LARGEST_POOL, dtype=np.int32), scores, places, SOURCES, True, 10**6, seen)
    history = [HistoryEntry(str(item), 1, 1_767_258_000_000 - 60_000 * item) for item in range(50)]
    nothing = np.zeros((0, 0))
    seeds = Seeds(Pairs(nothing, nothing, nothing, nothing, 0.9, 0.5), np.zeros(0, np.int64), 1.0)
    blended = Blended(proposal, (), (), seeds, "online-1@1", True, True)
    query, state = RecommendationQuery(user_id="42", explain=features), UserState(history=history, newest=1)
    chosen = list(blended.scores.items())[:10]
    return Decision(query, Interests(), Plan(10), state, blended, chosen=chosen, sampled=sampled)


def _place(rank: int) -> RecommendedItem:
    sources = dict.fromkeys(SOURCES[:8], rank ** (-0.5))
    return {
        "item_id": str(rank),
        "rank": rank,
        "score": 0.1 / rank,
        "title": f"Film {rank}",
        "sources": sources,
        "reason": "now",
    }
