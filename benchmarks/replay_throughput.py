"""How many events a second the offline replay takes when every model ranks every one of them, and when they only learn."""

from __future__ import annotations

import os
import time
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from benchmarks.rig import compile_models
from benchmarks.row import Row
from evaluation.prequential import replay
from evaluation.protocol import in_time_order, questions
from ops.datasets import open_source
from ops.evaluate_source import as_interactions, catalogue, describe_items
from ops.sources import Source
from schemas.errors import InvalidInput
from schemas.settings import Settings
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions

EVENTS, FEW = 100_000, 64


def run() -> list[Row]:
    """MovieTweetings where FRESHET_DATA has it, else a made-up shop; the same events both times."""
    compile_models()
    source = _source()
    batch = in_time_order(as_interactions(islice(source.events(), EVENTS)))
    learning = _rate(source, batch, np.zeros(len(batch.users), np.bool_))
    ranking = _rate(source, batch, questions(batch, "A"))
    return [
        Row("replay_throughput", ranking, "events/s", "learning only", ranking / learning, ">= 2,000"),
        Row("replay_throughput/learning_only", learning, "events/s"),
    ]


def _source() -> Source:
    try:
        return open_source("movietweetings", Settings.from_environment(os.environ).data)
    except InvalidInput:
        return open_source(f"synthetic:{EVENTS},10000,10000", None)


def _rate(source: Source, batch: Interactions, ranked: NDArray[np.bool_]) -> float:
    few = batch.part(0, FEW)
    ModelBank().advance(few, np.ones(len(few.users), np.bool_))  # takes the machine code from numba's cache
    bank = ModelBank()
    describe_items(bank, catalogue(source))
    started = time.perf_counter()
    replay(bank, batch, ranked, 0)
    return len(ranked) / (time.perf_counter() - started)
