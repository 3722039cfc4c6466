"""`freshet evaluate prequential`: every event is predicted before it is learnt; what comes out is a document and its figures."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.judgement import Judgement, judge
from evaluation.prequential import Progress, Record, replay
from evaluation.protocol import Mode, in_time_order, questions, warm_up_events
from evaluation.river_ranking import RIVER_MODELS, RiverBank
from ops.evaluate_replay import Task, timed_replay
from ops.evaluate_source import Asked, Stream, catalogue, open_stream
from schemas.errors import InvalidInput
from stream_workers.compiling import compile_ahead
from stream_workers.models.online.bank import OWN_MODELS, ModelBank
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.settings import BankSettings

SAMPLED: Final = 1000
"""Questions for models that need milliseconds for each."""
_FIRST_EVENTS: Final = 64

Say = Callable[[str], None]


class Evaluation(NamedTuple):
    """A finished evaluation.

    Attributes:
        judgements: of the bank's models, then of each sampled model.
        replay_seconds: of the bank, without reading, compiling and judging.
        skipped: events that are no questions.
    """

    stream: Stream
    mode: Mode
    settings: BankSettings
    events: int
    skipped: int
    judgements: list[Judgement]
    replay_seconds: float
    seconds: float
    peak_memory_mib: float


def evaluate(
    asked: Asked,
    data: Path | None,
    mode: Mode,
    settings: BankSettings,
    models: Sequence[str] | None,
    say: Say,
    progress: Progress,
    processes: int = 1,
) -> Evaluation:
    """Replay a stream through the models and judge them.

    Args:
        data: folder of the public data sets.
        models: names of those wanted; None for all of the bank.
        processes: for the replay of the bank, at most how many; it comes to the same.
        say: takes one line for a person.
        progress: is told (events done, events in all).

    Raises:
        InvalidInput: no such source or model, or bad data.
    """
    begun = time.monotonic()
    chosen = chosen_models(models)
    stream = open_stream(asked, data)
    announce(stream, say)
    batch = in_time_order(stream.interactions())
    ranked = questions(batch, mode)
    rng = np.random.default_rng(settings.seed)
    judgements, seconds = [], 0.0
    if own := [name for name in chosen if name not in RIVER_MODELS]:
        compile_models(settings, batch, say)
        record, seconds = timed_replay(Task(settings, catalogue(stream.source), batch, ranked), own, processes, progress)
        judgements.append(judge(record, rng))
    for name in (name for name in chosen if name in RIVER_MODELS):
        judgements.append(judge(_sampled(name, settings, batch, ranked, rng, progress), rng))
    skipped = len(ranked) - int(ranked.sum())
    return Evaluation(
        stream, mode, settings, len(ranked), skipped, judgements, seconds, time.monotonic() - begun, peak_memory_mib()
    )


def chosen_models(models: Sequence[str] | None) -> list[str]:
    """The models to judge: those wanted, or all of the bank.

    Raises:
        InvalidInput: there is no model of that name.
    """
    known = (*OWN_MODELS, *RIVER_MODELS)
    for name in models or ():
        if name not in known:
            raise InvalidInput(f"--models {name!r}: there is no such model; there are {', '.join(known)}")
    return list(dict.fromkeys(models)) if models else list(OWN_MODELS)


def announce(stream: Stream, say: Say) -> None:
    """Tell a person what is being read, and which rows are not."""
    source = stream.source
    say(f"{source.title}: {stream.size:,} events (licence: {source.licence})")
    if stream.low_ratings:
        say(f"{stream.low_ratings:,} ratings below {stream.least_rating:g} are left out (--min-rating)")
    if source.faults.bad:
        say(f"{source.faults.bad:,} of {source.faults.rows:,} rows are bad and left out; correct them in the file. The first:")
        for fault in source.faults.first:
            say(f"  {fault}")


def compile_models(settings: BankSettings, batch: Interactions, say: Say) -> None:
    """Have the kernels compiled and loaded before a clock runs, on a few of the events."""
    compile_ahead(say)
    few = batch.part(0, _FIRST_EVENTS)
    ModelBank(settings).advance(few, np.ones(len(few.users), np.bool_))


def _sampled(
    name: str,
    settings: BankSettings,
    batch: Interactions,
    ranked: NDArray[np.bool_],
    rng: np.random.Generator,
    progress: Progress,
) -> Record:
    """river's model learns every event, but is asked only about some of those that count."""
    warm_up = warm_up_events(len(ranked))
    counting = np.flatnonzero(ranked[warm_up:]) + warm_up
    some = np.zeros(len(ranked), np.bool_)
    some[rng.choice(counting, min(SAMPLED, len(counting)), replace=False)] = True
    return replay(RiverBank(name, settings.seed, settings.repeats), batch, some, warm_up, progress=progress)


def peak_memory_mib() -> float:
    """The most memory that this process ever held, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, on macOS bytes
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def as_document(done: Evaluation) -> dict[str, Any]:
    """Everything as the one JSON document of `--json`."""
    main = done.judgements[0]
    return {
        "dataset": done.stream.name,
        "events": done.events,
        "mode": done.mode,
        "seed": done.settings.seed,
        "models": {name: _model(one, m) for one in done.judgements for m, name in enumerate(one.names)},
        "questions": main.questions,
        "new_items": main.new_items / main.questions if main.questions else None,
        "reachable": main.reachable / main.questions if main.questions and "blend" in main.names else None,
        "skipped": {"no_question": done.skipped, "low_ratings": done.stream.low_ratings, "bad_rows": done.stream.source.faults.bad},
        "min_rating": done.stream.least_rating,
        "seconds": round(done.seconds, 3),
        "events_per_second": round(done.events / done.replay_seconds) if done.replay_seconds else None,
        "peak_memory_mib": round(done.peak_memory_mib),
        "settings": done.settings._asdict(),
    }


def _model(one: Judgement, m: int) -> dict[str, Any]:
    values: dict[str, Any] = {name: float(column[m]) for name, column in one.metrics.items()}
    if one.recall is not None and one.difference is not None:
        values["recall@10_interval"] = [float(one.recall.low[m]), float(one.recall.high[m])]
        values["minus_reference"] = {
            "reference": one.reference,
            "recall@10": float(one.difference.mean[m]),
            "interval": [float(one.difference.low[m]), float(one.difference.high[m])],
        }
    segments = {
        name: {"events": events, **{metric: float(column[m]) for metric, column in metrics.items()}}
        for name, (events, metrics) in one.segments.items()
    }
    return {**values, "questions": one.questions, "segments": segments}
