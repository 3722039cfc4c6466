"""From a trained ranker to a published version: it serves if it orders later slates better than what orders them now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from batch.blend_ranking import BLEND, TrainedRanker, served_scores
from batch.promotion import KEPT_VERSIONS, Published
from batch.registry.gate import F64, GateRules, Judged
from batch.registry.gate import judge as ask_gate
from batch.registry.pointers import Note, promote, record_gate, set_shadow
from batch.registry.publish import publish_ranker
from batch.registry.retention import prune
from feature_store.model_versions import read_version
from feature_store.version_manifest import Facts, TrainedOn
from feature_store.version_pointers import read_state
from stream_workers.models.deep.blend_ranker import ranker_version

MODEL: Final = "blend_ranker"
RULES: Final = GateRules(baselines=(BLEND,))


class RankerRun(NamedTuple):
    """What stands in the manifest. `offsets`: `topic:partition` to the last offset that was read."""

    offsets: Mapping[str, int]
    code_version: str
    seed: int
    now_ms: int


def publish_trained_ranker(root: Path, trained: TrainedRanker, run: RankerRun, model: str = MODEL) -> Published:
    """Write the version, and promote it if the gate lets it pass; else it stays in the shadow, where it answers nobody.

    It must beat the blend's own order, and the serving version by a margin if that one knows the same features: one that knows
    others is refused by the API anyway.

    Raises:
        InvalidInput, TrainingFailed, NotStored: nothing that serves was touched.
    """
    version = publish_ranker(root, model, trained.ranker, _facts(trained, run))
    against = read_state(root, model).serving
    serving = None if against is None else _serving(root, model, against, trained)
    users = trained.contest.slates.sessions[trained.questions]
    judged = Judged(trained.ndcg[trained.loss], serving, {BLEND: trained.ndcg[BLEND]}, {}, users)
    verdict = ask_gate(judged, run.seed, RULES)
    record_gate(root, model, version, verdict.record(run.now_ms, against))
    if version != against:
        note = Note(run.now_ms, f"freshet batch train {model}", " ".join(verdict.reasons))
        (promote if verdict.promote else set_shadow)(root, model, version, note)
        prune(root, model, KEPT_VERSIONS)
    return Published(version, verdict)


def _serving(root: Path, model: str, version: str, trained: TrainedRanker) -> F64 | None:
    """NDCG@10 of the version that serves, on the same slates; None: it cannot score them."""
    ranker = ranker_version(read_version(root, model, version)).ranker
    if (ranker.features, ranker.width) != (trained.ranker.features, trained.ranker.width):
        return None
    contest = trained.contest
    return contest.judge(served_scores(contest, ranker, contest.split.test), contest.split.test).ndcg


def _facts(trained: TrainedRanker, run: RankerRun) -> Facts:
    slates, rows = trained.contest.slates, trained.contest.split.train
    return Facts(
        trained_on=TrainedOn(
            first_ms=int(slates.times[rows].min()), last_ms=int(slates.times[rows].max()), events=len(rows),
            users=len(np.unique(slates.sessions[rows])), items=slates.content.size,
        ),
        offsets=dict(run.offsets),
        metrics={
            "ndcg@10": float(trained.ndcg[trained.loss].mean()),
            **{f"{name}.ndcg@10": float(values.mean()) for name, values in trained.ndcg.items() if name != trained.loss},
        },
        code_version=run.code_version,
        seed=run.seed,
        training_seconds=trained.seconds,
        created_ms=run.now_ms,
    )  # fmt: skip
