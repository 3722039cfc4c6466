"""How many events a second the offline replay takes when every model ranks every one of them, and when they only learn."""

from __future__ import annotations

import os
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from benchmarks.rig import compile_models
from benchmarks.row import Row
from evaluation.protocol import in_time_order, questions
from ops.datasets import open_source
from ops.evaluate_replay import Task, cores, timed_replay
from ops.evaluate_source import as_interactions, catalogue
from ops.sources import Source
from schemas.errors import InvalidInput
from schemas.settings import Settings
from stream_workers.models.online.bank import OWN_MODELS
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.settings import BankSettings

EVENTS = 100_000


def run() -> list[Row]:
    """MovieTweetings where FRESHET_DATA has it, else a made-up shop; the same events both times."""
    compile_models()
    source = _source()
    batch = in_time_order(as_interactions(islice(source.events(), EVENTS)))
    learning = _rate(source, batch, np.zeros(len(batch.users), np.bool_), 1)
    alone, ranking = (_rate(source, batch, questions(batch, "A"), processes) for processes in (1, min(2, cores())))
    return [
        Row("replay_throughput", ranking, "events/s", "one process", ranking / alone, ">= 2,000"),
        Row("replay_throughput/one_process", alone, "events/s", "learning only", alone / learning),
        Row("replay_throughput/learning_only", learning, "events/s"),
    ]


def _source() -> Source:
    try:
        return open_source("movietweetings", Settings.from_environment(os.environ).data)
    except InvalidInput:
        return open_source(f"synthetic:{EVENTS},10000,10000", None)


def _rate(source: Source, batch: Interactions, ranked: NDArray[np.bool_], processes: int) -> float:
    task = Task(BankSettings(), catalogue(source), batch, ranked)
    _, seconds = timed_replay(task, OWN_MODELS, processes, lambda done, total: None)
    return len(ranked) / seconds
