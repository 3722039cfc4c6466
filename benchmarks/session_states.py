"""What it costs a worker to keep the state of a session model for each user: in one batch, and of its throughput.

A GRU of 64 numbers, `session_rnn` as `batch train` makes it, over the 10,000 items of the stream, untrained: the arithmetic is the
same. The throughput is that of the full worker, until the learner has learnt every event too, and that without the learner. Beside
events per second, which depend on who else uses the cores, stands the processor time of the worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from batch.registry.pointers import Note, promote
from batch.registry.publish import publish
from benchmarks.rig import ITEMS, catalogue, compile_models, events, rig
from benchmarks.rnn_step import WANTED, gru, recurrent
from benchmarks.row import Row
from benchmarks.timing import milliseconds
from feature_store.version_manifest import Facts, TrainedOn
from stream_workers.handlers.fan_out import SourceEvents
from stream_workers.handlers.interner import Interner
from stream_workers.handlers.session_states import SessionStates
from stream_workers.models.deep.recurrent import Recurrent
from stream_workers.models.deep.session_model import SessionModel

EVENTS, USERS, AT_ONCE, BATCHES = 100_000, 20_000, 1000, 200
MODEL = "session_rnn"
IDS = tuple(str(1_000_000 + item) for item in range(ITEMS))


class Work(NamedTuple):
    """Events per second of the wall clock, and processor time for one event, microseconds."""

    rate: float
    cpu_us: float


def run() -> list[Row]:
    """The same log four times, each time on servers of its own: with and without states, with and without the learner."""
    compile_models()
    full, alone = ([_work(model, learner) for model in (None, _model())] for learner in (True, False))
    return [
        Row("session_states/1000_users", _apart(), "ms", wanted=WANTED),
        Row("session_states/worker", full[1].rate, "events/s", "without states", full[1].rate / full[0].rate, ">= 0.70"),
        Row("session_states/cpu", full[1].cpu_us, "us/event", "without states", full[1].cpu_us / full[0].cpu_us),
        Row("session_states/state_alone", alone[1].rate, "events/s", "without states", alone[1].rate / alone[0].rate),
        Row("session_states/state_alone_cpu", alone[1].cpu_us, "us/event", "without states", alone[1].cpu_us / alone[0].cpu_us),
    ]


def _model() -> Recurrent:
    return recurrent(gru(np.random.default_rng(4)), np.random.default_rng(5))


def _apart() -> float:
    """`_advance` in a process of its own, which has as many threads for BLAS as `freshet worker`: one."""
    command = [sys.executable, "-m", "benchmarks.session_states"]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def _advance(model: Recurrent) -> float:
    """Median time to move the states of 1,000 users in memory by the next event of each."""
    rng, ids = np.random.default_rng(6), Interner(1)
    ids.indices(list(IDS))
    states = SessionStates(np.ones(1))
    states.use(SessionModel(MODEL, model, {item: row for row, item in enumerate(IDS)}))
    for row in range(AT_ONCE):
        states.begin(row)
    nothing, rows = np.zeros(AT_ONCE, np.int64), rng.permutation(AT_ONCE)
    items = rng.integers(ITEMS, size=(BATCHES, AT_ONCE))

    def batch(n: int) -> None:
        taken = SourceEvents(items[n], nothing, np.full(AT_ONCE, 60_000 * n), nothing, nothing, [])
        if states.advance(rows, taken, np.zeros(AT_ONCE, np.bool_), {}, ids).stepped != AT_ONCE:
            raise RuntimeError("a state was not moved by one step")

    return milliseconds(batch, BATCHES)


def _work(model: Recurrent | None, learner: bool) -> Work:
    """From the first event applied until every event and every signal is in Redis, and learnt if there is a learner."""
    log = list(events(EVENTS, USERS))
    with tempfile.TemporaryDirectory(prefix="freshet-bench-models-") as folder, rig() as bench:
        if model is not None:
            _publish(Path(folder), model)
        bench.produce(catalogue())
        worker = bench.worker(learner=learner, models=folder, session_model=MODEL)
        cpu = _cpu_seconds(worker.pid)
        rate = bench.rate_of(log, learner)
        stored = sum(1 for _ in bench.redis.scan_iter("s:{*", count=1000))
        if bool(stored) != (model is not None):
            raise RuntimeError(f"{stored} states stored")
        return Work(rate, 1e6 * (_cpu_seconds(worker.pid) - cpu) / EVENTS)


def _cpu_seconds(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def _publish(root: Path, model: Recurrent) -> None:
    now = time.time_ns() // 1_000_000
    told = TrainedOn(first_ms=now - 1000, last_ms=now, events=EVENTS, users=0, items=ITEMS)
    facts = Facts(
        trained_on=told, offsets={}, metrics={}, segments={}, code_version="benchmark", seed=4, training_seconds=0.0,
        created_ms=now,
    )  # fmt: skip
    version = publish(root, MODEL, model, IDS, (), facts)
    promote(root, MODEL, version, Note(now, "benchmark", f"process {os.getpid()}"), force=True)


if __name__ == "__main__":
    print(_advance(_model()))
