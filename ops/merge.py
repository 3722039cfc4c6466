"""`freshet evaluate merge`: what trained batch models add to the nearline blend, and what training them again and again adds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import InteractionLog
from batch.models.catalogue import model_class
from evaluation.intervals import Interval, paired_difference
from evaluation.metrics.single_target import hit_at
from evaluation.prequential import CHUNK
from evaluation.protocol import Mode, in_time_order, questions
from ops.batch_source import read_log
from ops.evaluate import announce, compile_models
from ops.evaluate_source import Asked, Stream, catalogue, describe_items, open_stream
from schemas.errors import InvalidInput
from stream_workers.models.deep.bank_sources import BankSources
from stream_workers.models.deep.published import PublishedModel
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.online.world import BATCH_MODELS

LATER: Final = 0.05
"""Share of what a model is trained on, the newest, that stops its training early."""
PLACES: Final = 10
_BLEND: Final = "blend"

Say = Callable[[str], None]
SourcesAt = Mapping[int, BankSources]
"""By the number of the event from which on they are asked."""


class Plan(NamedTuple):
    """What is compared.

    Attributes:
        models: batch models, at most as many as the blend takes. begin: share of the events after which they are first trained.
        retrains: how often they are trained in the arm that trains again: at the beginning, and at equal distances until the end.
    """

    asked: Asked
    mode: Mode
    models: tuple[str, ...]
    begin: float
    retrains: int


class Arm(NamedTuple):
    """One way to recommend, on the Q questions behind the beginning.

    Attributes:
        hits: float64[Q] by name of what ranked: the blend, and each batch model alone.
        trainings: how many there were of each model. seconds: that they took.
    """

    hits: Mapping[str, NDArray[np.float64]]
    trainings: int
    seconds: float

    @property
    def recall(self) -> dict[str, float]:
        """Recall@10 by name."""
        return {name: float(hits.mean()) for name, hits in self.hits.items()}


class Merged(NamedTuple):
    """The outcome: `alone` is the blend without batch models, the others ask those that were trained once, or again and again."""

    plan: Plan
    events: int
    questions: int
    arms: Mapping[str, Arm]
    differences: Mapping[str, Interval]


def merge(plan: Plan, data: Path | None, settings: BankSettings, say: Say) -> Merged:
    """Replay the stream once for each arm; a model only ever learns from what lies before the event from which on it is asked.

    Raises:
        InvalidInput: an unknown source or model, too many models, or shares and numbers out of range.
    """
    _check(plan)
    stream = open_stream(plan.asked, data)
    announce(stream, say)
    batch = in_time_order(stream.interactions())
    log = read_log(plan.asked, data)
    compile_models(settings, batch, say)
    trainer = _Trainer(log, batch, plan.models, settings.seed, say)
    cuts = _cuts(len(batch.users), plan)
    ranked = questions(batch, plan.mode)
    arms = {}
    for name, used in (("alone", ()), ("trained_once", cuts[:1]), ("retrained", cuts)):
        if name == "retrained" and len(cuts) == 1:
            continue
        begun = trainer.seconds
        sources = {cut: trainer.at(cut) for cut in used}
        arms[name] = Arm(_hits(stream, settings, batch, ranked, cuts[0], sources), len(used), trainer.seconds - begun)
        say(f"{name}: " + ", ".join(f"{who} {recall:.4f}" for who, recall in arms[name].recall.items()))
    rng = np.random.default_rng(settings.seed)
    return Merged(plan, len(batch.users), len(arms["alone"].hits[_BLEND]), arms, dict(_differences(arms, rng)))


def _check(plan: Plan) -> None:
    if not 1 <= len(plan.models) <= BATCH_MODELS:
        raise InvalidInput(f"--models {','.join(plan.models)}: expected one to {BATCH_MODELS} batch models")
    for name in plan.models:
        model_class(name)
    if not 0 < plan.begin < 1:
        raise InvalidInput(f"--begin {plan.begin}: expected a share of the events between 0 and 1")


def _cuts(events: int, plan: Plan) -> list[int]:
    begin = int(events * plan.begin)
    return sorted({begin + (events - begin) * k // plan.retrains for k in range(plan.retrains)})


class _Trainer:
    """Trains the models on what lies before an event; what was trained is kept."""

    def __init__(self, log: InteractionLog, batch: Interactions, models: Sequence[str], seed: int, say: Say) -> None:
        self._log, self._batch, self._models, self._seed, self._say = log, batch, models, seed, say
        self._trained: dict[int, BankSources] = {}
        self.seconds = 0.0

    def at(self, cut: int) -> BankSources:
        """The models that learnt from the events before this one, and from none of the same moment."""
        if cut not in self._trained:
            begun = time.monotonic()
            self._trained[cut] = BankSources([self._model(name, cut) for name in self._models])
            self.seconds += time.monotonic() - begun
        return self._trained[cut]

    def _model(self, name: str, cut: int) -> PublishedModel:
        end = int(np.searchsorted(self._log.timestamps, self._batch.timestamps[cut], side="left"))
        middle = int(end * (1 - LATER))
        self._say(f"{name}: training on {end:,} events")
        scorer = model_class(name)().fit(self._log.part(0, middle), self._log.part(middle, end), seed=self._seed)
        return PublishedModel.of(name, str(cut), scorer, self._log.catalogue.ids, self._log.user_ids)


def _hits(
    stream: Stream, settings: BankSettings, batch: Interactions, ranked: NDArray[np.bool_], begin: int, sources: SourcesAt
) -> dict[str, NDArray[np.float64]]:
    """Replay the stream; who had the item among the first ten, on the questions from `begin` on."""
    bank = ModelBank(settings)
    describe_items(bank, catalogue(stream.source))
    columns: dict[str, list[NDArray[np.float64]]] = {}
    for start, end in _parts(len(batch.users), {begin, *sources}):
        if start in sources:
            bank.sources = sources[start]
        names = (_BLEND, *(name for name in bank.names if name.startswith("batch_")))
        outcome = bank.advance(batch.part(start, end), ranked[start:end], names).only(names)
        if start >= begin:
            titles = (_BLEND, *(name.partition("@")[0] for name in (sources[min(sources)].names if sources else ())))
            for title, ranks in zip(titles, outcome.ranks.T, strict=True):
                columns.setdefault(title, []).append(hit_at(ranks, PLACES))
    return {title: np.concatenate(parts) for title, parts in columns.items()}


def _parts(events: int, cuts: set[int]) -> Iterator[tuple[int, int]]:
    """Start and end of parts that are not longer than a chunk and begin at every cut."""
    bounds = sorted({*cuts, *range(0, events, CHUNK), events})
    yield from pairwise(bounds)


def _differences(arms: Mapping[str, Arm], rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:
    """Blend against blend, and against the best batch model alone, question by question."""
    merged = [name for name in arms if name != "alone"]
    for name in merged:
        blend, others = arms[name].hits[_BLEND], {who: hits for who, hits in arms[name].hits.items() if who != _BLEND}
        yield f"{name} - alone", paired_difference(blend, arms["alone"].hits[_BLEND], rng)
        best = max(others, key=lambda who: float(others[who].mean()))
        yield f"{name} - {best}", paired_difference(blend, others[best], rng)
    if len(merged) > 1:
        yield " - ".join(reversed(merged)), paired_difference(arms[merged[1]].hits[_BLEND], arms[merged[0]].hits[_BLEND], rng)


def as_document(done: Merged) -> dict[str, Any]:
    """Everything as the one JSON document of `--json`; gains are relative, of the arm that trains most often."""
    alone, last = done.arms["alone"].recall[_BLEND], done.arms[list(done.arms)[-1]].recall
    best = max(recall for name, recall in last.items() if name != _BLEND)
    return {
        "dataset": done.plan.asked.source,
        "mode": done.plan.mode,
        "events": done.events,
        "questions": done.questions,
        "models": list(done.plan.models),
        "begin": done.plan.begin,
        "retrains": done.plan.retrains,
        "arms": {
            name: {"recall@10": arm.recall, "trainings": arm.trainings, "seconds": round(arm.seconds, 1)}
            for name, arm in done.arms.items()
        },
        "batch_gain_over_nearline": last[_BLEND] / alone - 1 if alone else None,
        "merge_gain_over_batch": last[_BLEND] / best - 1 if best else None,
        "differences": {
            name: {"recall@10": float(one.mean[0]), "interval": [float(one.low[0]), float(one.high[0])]}
            for name, one in done.differences.items()
        },
    }
