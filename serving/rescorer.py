"""The stage between blend and filters: a published ranker puts the blend's best into its own order, where one is serving."""

from __future__ import annotations

import logging
from dataclasses import replace
from operator import itemgetter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.blend_features import LOGGED_PLACES, FeatureSample, digest, seen_rows, vectors
from serving.blended import Blended, shares
from serving.decision import Decision
from serving.metrics import Metrics
from serving.plan import Plan
from stream_workers.models.deep.blend_ranker import RankerVersion

log = logging.getLogger(__name__)

F32 = NDArray[np.float32]


class FollowsRanker(Protocol):
    """Has the serving version of the ranker (`VersionFollower`), which may be none; another object when it changes."""

    @property
    def current(self) -> RankerVersion | None:
        """One version, whole."""

    @property
    def faults(self) -> int:
        """Versions that could not be used."""

    def refresh(self) -> bool:
        """Look, and take over what has changed."""


class Rescorer:
    """Rescores the blend's best with the ranker of this moment. What cannot be used changes nothing, is counted and said once.

    Args:
        published: the ranker. depth: how many of the best it scores. sample: whose features are logged, to train the next one with.
    """

    def __init__(self, published: FollowsRanker, depth: int, sample: FeatureSample, metrics: Metrics) -> None:
        self.published = published
        self._depth = depth
        self._sample = sample
        self._refused = metrics.ranker_refused
        self._said = ""

    def needs_features(self, plan: Plan) -> bool:
        """Whether the blend has to tell what its network sees."""
        return self.published.current is not None or self._sample.takes(plan.request_id)

    def rescored(self, decision: Decision) -> Decision:
        """The decision with the candidates in the ranker's order; as it was where there is no ranker, or none that fits."""
        blended, version = decision.blended, self.published.current
        if blended is None or blended.proposal.features is None:
            return decision
        if version is not None and blended.scores:
            blended = self._by(version, blended, decision.query.k)
        return replace(decision, blended=blended, sampled=self._sample.takes(decision.plan.request_id))

    def _by(self, version: RankerVersion, blended: Blended, places: int) -> Blended:
        """The blend's best in the order of one version; the blend's own where it does not fit."""
        expected, proposal = digest(blended.proposal.names), blended.proposal
        if version.ranker.features != expected or version.ranker.width != _width(blended):
            why = f"it was trained on features {version.ranker.features}, the blend has {expected}"
            return self._kept(blended, version, "features", why)
        rows = seen_rows(proposal)[: self._depth]
        scores = version.ranker.score(vectors(proposal, rows), min(places, LOGGED_PLACES))
        if not np.isfinite(scores).all():
            return self._kept(blended, version, "scores", "its scores are not finite")
        return _reordered(blended, rows, scores, version.name)

    def _kept(self, blended: Blended, version: RankerVersion, reason: str, why: str) -> Blended:
        self._refused.labels(reason).inc()
        told = f"ranker {version.name}: {why}; the blend's own order is kept"
        if told != self._said:
            log.warning("%s", told)
            self._said = told
        return blended


def _width(blended: Blended) -> int:
    features = blended.proposal.features
    return 0 if features is None else len(features) + 1


def _reordered(blended: Blended, rows: list[int], scores: F32, ranker: str) -> Blended:
    """These candidates share by their new scores what they had together; all stay probabilities, best first."""
    items = [blended.proposal.items[row] for row in rows]
    order = np.argsort(-scores, kind="stable").tolist()
    together = sum(blended.scores[item] for item in items)
    new = dict(zip((items[at] for at in order), (together * shares(scores))[order].tolist(), strict=True))
    rest = ((item, share) for item, share in blended.scores.items() if item not in new)
    both = [*new.items(), *rest]  # two sorted runs: quickly one
    return blended.ranked_by(ranker, dict(sorted(both, key=itemgetter(1), reverse=True)))
