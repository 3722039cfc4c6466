"""From a trained model to a published version: asked what the serving version is asked, passed by the gate, promoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import F32, I64, InteractionLog
from batch.datasets.splits import Split
from batch.judging import FEW, Judgement, judge
from batch.models.interface import Weights
from batch.questions import Questions
from batch.registry.gate import BASELINES, GateRules, Judged, Verdict
from batch.registry.gate import judge as ask_gate
from batch.registry.pointers import Note, promote, record_gate, set_shadow
from batch.registry.publish import load, publish
from batch.registry.retention import prune
from batch.weights import keep_weights
from feature_store.version_manifest import Facts, TrainedOn
from feature_store.version_pointers import read_state
from stream_workers.models.deep.loading import load_scorer
from stream_workers.models.deep.published import PublishedModel
from stream_workers.models.deep.scorer import Query, Scorer

KEPT_VERSIONS: Final = 5


class Candidate(NamedTuple):
    """A model that was just trained.

    Attributes:
        name: of the model. judgement: of `scorer`, on the questions of the run. seconds: of training.
        weights: to begin the next training with; None: the model has none. parent: the version this one began with.
        began: the same for a person, or why it was trained from scratch; "" where there is nothing to tell.
    """

    name: str
    scorer: Scorer
    judgement: Judgement
    seconds: float
    weights: Weights | None = None
    parent: str | None = None
    began: str = ""


class Published(NamedTuple):
    """What became of a candidate: its version, whether it serves now, and what the gate said; `began` as in `Candidate`."""

    version: str
    verdict: Verdict
    began: str = ""


class Background(NamedTuple):
    """What all candidates of a run share.

    Attributes:
        parts: what they learnt from. asked: what they were asked, in rows of the log.
        baselines: Judgement by name, on the same questions. offsets: `topic:partition` to the last offset that was read.
        code_version, seed, now_ms: for the manifest.
    """

    parts: Split
    asked: Questions
    baselines: Mapping[str, Judgement]
    offsets: Mapping[str, int]
    code_version: str
    seed: int
    now_ms: int


class Aligned:
    """A published version asked in the rows of another log: items are matched by id, what it does not know comes last."""

    def __init__(self, model: PublishedModel, log: InteractionLog) -> None:
        self._model = model
        self._rows: I64 = np.array([model.item_rows.get(item, -1) for item in log.catalogue.ids], np.int64)
        self._users: I64 = np.array([model.user_rows.get(user, -1) for user in log.user_ids], np.int64)

    def score(self, queries: Sequence[Query]) -> F32:
        """See `Scorer.score`, in the rows of the log."""
        scores = self._model.scorer.score([self._translated(query) for query in queries])
        found: F32 = np.where(self._rows >= 0, scores[:, np.maximum(self._rows, 0)], scores.min(axis=1, keepdims=True))
        return found

    def _translated(self, query: Query) -> Query:
        rows = self._rows[query.items]
        known = rows >= 0
        user = int(self._users[query.user]) if query.user >= 0 else -1
        return Query(user, rows[known], query.timestamps[known], query.now, query.weights[known])


def publish_candidate(root: Path, candidate: Candidate, run: Background) -> Published:
    """Write the candidate as a version, let the gate compare it with what serves, and promote it if it passes.

    One that is refused is kept as the shadow: it can be looked at, scored beside the serving one, and promoted by force.

    Raises:
        InvalidInput, TrainingFailed, NotStored: nothing that serves was touched.
    """
    version = publish(
        root, candidate.name, candidate.scorer, run.parts.train.catalogue.ids, run.parts.train.user_ids, _facts(candidate, run)
    )
    against, verdict = _verdict(root, candidate, run)
    record_gate(root, candidate.name, version, verdict.record(run.now_ms, against))
    note = Note(run.now_ms, "freshet batch run", " ".join(verdict.reasons))
    if version != against:
        (promote if verdict.promote else set_shadow)(root, candidate.name, version, note)
        prune(root, candidate.name, KEPT_VERSIONS)
    if candidate.weights is not None:
        keep_weights(root, version, candidate.weights)
    return Published(version, verdict, candidate.began)


def rules_for(name: str) -> GateRules:
    """A deep model must beat every baseline; a baseline only those before it in the list."""
    baselines = BASELINES[: BASELINES.index(name)] if name in BASELINES else BASELINES
    return GateRules(protected=("cold users", "warm users"), baselines=baselines)


def _verdict(root: Path, candidate: Candidate, run: Background) -> tuple[str | None, Verdict]:
    """The version that serves, and what the gate says of the candidate in comparison."""
    rules, against = rules_for(candidate.name), read_state(root, candidate.name).serving
    serving = None
    if against is not None:
        version = Aligned(load(root, candidate.name, against, load_scorer), run.parts.train)
        serving = judge(against, version, run.asked, run.parts.train, seed=run.seed).hits
    judged = Judged(
        candidate.judgement.hits,
        serving,
        {name: run.baselines[name].hits for name in rules.baselines if name in run.baselines},
        _segments(run),
        run.asked.users,
    )
    return against, ask_gate(judged, run.seed, rules)


def _segments(run: Background) -> dict[str, NDArray[np.bool_]]:
    warm = np.bincount(run.parts.train.users, minlength=len(run.parts.train.user_ids))[run.asked.users] >= FEW
    return {"cold users": ~warm, "warm users": warm}


def _facts(candidate: Candidate, run: Background) -> Facts:
    train, judgement = run.parts.train, candidate.judgement
    return Facts(
        trained_on=TrainedOn(
            first_ms=int(train.timestamps[0]), last_ms=int(run.parts.validation.timestamps[-1]),
            events=train.size, users=len(train.user_ids), items=train.catalogue.size,
        ),
        offsets=dict(run.offsets),
        metrics={name: estimate.mean for name, estimate in judgement.metrics.items()},
        segments={
            name: {"recall@10": segment.recall, "questions": segment.users}
            for name, segment in judgement.segments.items() if segment.users
        },
        code_version=run.code_version,
        seed=run.seed,
        training_seconds=candidate.seconds,
        created_ms=run.now_ms,
        parent=candidate.parent,
    )  # fmt: skip
