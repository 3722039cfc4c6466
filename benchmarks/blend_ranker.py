"""What the ranker behind the blend costs a request, and what logged features cost it and its impression."""

from __future__ import annotations

import numpy as np
import orjson

from benchmarks.decision_record import decided
from benchmarks.row import Row
from benchmarks.timing import milliseconds
from serving.answers import Recommendations
from serving.blend_features import FeatureSample, digest, vectors
from serving.decision import Decision
from serving.metrics import Metrics
from serving.presentation import MODELS, NO_FRESHNESS, impression
from serving.rescorer import Rescorer
from stream_workers.models.deep.blend_ranker import BlendRanker, RankerVersion
from stream_workers.models.deep.ranker import SlateRanker
from stream_workers.models.online.columns import Proposal
from stream_workers.models.online.features import FEATURES
from stream_workers.models.online.sources import SOURCES

CANDIDATES, PLACES, ASKED, WIDTH, HEADS = 200, 10, 300, 32, 2
BASELINE = "JSON of the impression"


class _Follower:
    """A ranker that does not change."""

    def __init__(self, current: RankerVersion | None) -> None:
        self.current = current
        self.faults = 0

    def refresh(self) -> bool:
        return False


def run() -> list[Row]:
    """A pool of 640, 200 of them ranked for a list of ten; the network as it is trained."""
    decision = decided(True)
    assert decision.blended is not None
    proposal = decision.blended.proposal
    version = RankerVersion("blend_ranker@1", _ranker())
    stage = Rescorer(_Follower(version), CANDIDATES, FeatureSample(0.0), Metrics())
    table = vectors(proposal, slice(CANDIDATES))
    plain, told = (decided(True, sampled) for sampled in (False, True))
    answer = _answer(plain)
    floor = milliseconds(lambda _: _impression(plain, answer), ASKED)
    with_features = milliseconds(lambda _: _impression(told, answer), ASKED)
    sizes = len(_impression(plain, answer)), len(_impression(told, answer))

    def row(name: str, spent: float, wanted: str = "") -> Row:
        return Row(f"blend_ranker/{name}", 1000 * spent, "us", BASELINE, spent / floor, wanted)

    return [
        row("stage", milliseconds(lambda _: stage.rescored(decision), ASKED), "<= 1,000 us"),
        row("network", milliseconds(lambda _: version.ranker.score(table, PLACES), ASKED)),
        row("features of the pool", milliseconds(lambda _: _gathered(proposal), ASKED)),
        row("impression made", floor),
        row("impression made with features", with_features),
        Row("blend_ranker/impression", sizes[0], "bytes"),
        Row("blend_ranker/impression with features", sizes[1], "bytes", "without", sizes[1] / sizes[0]),
    ]


def _gathered(proposal: Proposal) -> object:
    """What the bank does to tell the features of a pool: its columns in the order of the scores."""
    assert proposal.features is not None
    return proposal.features[:, proposal.codes]


def _ranker() -> BlendRanker:
    rng, count = np.random.default_rng(1), len(FEATURES) + 1
    sizes = {"1": 1, "F": count, "2F": 2 * count, "D": WIDTH, "H": HEADS, "K": WIDTH // HEADS}
    shapes = {name: [sizes[one] for one in shape] for name, shape in SlateRanker.SHAPES.items()}
    arrays = {name: (rng.normal(size=shape) / 8).astype(np.float32) for name, shape in shapes.items()}
    arrays["sds"][:] = arrays["spreads"][:] = 1
    return BlendRanker(SlateRanker.load(arrays), digest(SOURCES))


def _impression(decision: Decision, answer: Recommendations) -> bytes:
    return orjson.dumps(impression(decision, answer, 1_767_258_000_000))


def _answer(decision: Decision) -> Recommendations:
    return {
        "request_id": "01KDWCJ2QR0000000000000000", "user_id": "42", "models": MODELS, "freshness": NO_FRESHNESS,
        "experiment": None, "degraded": None,
        "items": [
            {"item_id": item, "rank": n, "score": score, "sources": {"co_visitation": 0.5}, "reason": "now"}
            for n, (item, score) in enumerate(decision.chosen, 1)
        ],
    }  # fmt: skip
