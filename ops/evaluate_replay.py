"""The replay on two cores: models that no other one asks are ranked in a second process, which learns the same events.

Every model still predicts every event before it is learnt, and says what it says in one process: what a model learns does not
depend on who else is ranked. Only the blend learns from being ranked, and it stays with all that it asks.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.prequential import Progress, Record, beside, replay
from evaluation.protocol import warm_up_events
from ops.evaluate_source import CatalogueItem, describe_items
from schemas.errors import FreshetError
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.settings import BankSettings

ASIDE: Final = ("popularity_all_time", "popularity_decayed", "isgd", "bpr")
"""Models that neither the blend nor its sources ask."""
WORTH_IT: Final = 20_000
"""A second process takes as long to start as to replay so many events."""
_FIRST_EVENTS: Final = 64


class Task(NamedTuple):
    """What is replayed: `ranked` is bool[E], which of the E events are questions."""

    settings: BankSettings
    items: Sequence[CatalogueItem]
    batch: Interactions
    ranked: NDArray[np.bool_]


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed_replay(task: Task, models: Sequence[str], processes: int, progress: Progress) -> tuple[Record, float]:
    """Replay a stream, and how many seconds it took; starting does not count.

    Args:
        models: those to rank by.
        processes: at most how many; more than two are of no use.

    Raises:
        FreshetError: the second process ended early.
    """
    apart = processes > 1 and len(task.ranked) >= WORTH_IT
    aside = [name for name in models if apart and name in ASIDE]
    main = [name for name in models if name not in aside]
    if not main or not aside:
        aside, main = [], list(models)
    with ExitStack() as stack:
        other = stack.enter_context(_Other(task, aside)) if aside else None
        bank = _bank(task)
        begun = time.monotonic()
        if other is not None:
            begun = other.start()
        record = _replayed(bank, task, main, progress)
        if other is not None:
            record = beside(record.only(main), other.record())
        return record.only(models), time.monotonic() - begun


class _Other:
    """A second process with a bank of its own; it ends with the block."""

    def __init__(self, task: Task, models: Sequence[str]) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_replay_aside, args=(theirs, task, models), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> _Other:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()
        self._pipe.close()

    def start(self) -> float:
        """Wait until it is ready, let it begin; the moment of that."""
        self._received()
        begun = time.monotonic()
        self._pipe.send(None)
        return begun

    def record(self) -> Record:
        """Wait for what it found."""
        found: Record = self._received()
        return found

    def _received(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise FreshetError(f"the second process of the replay ended early, status {self._process.exitcode}") from error


def _replay_aside(pipe: Connection, task: Task, models: Sequence[str]) -> None:
    """The second process. Ctrl-C is for the first one, which then ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bank = _bank(task)
    pipe.send(None)
    pipe.recv()
    pipe.send(_replayed(bank, task, models, lambda done, total: None).only(models))


def _bank(task: Task) -> ModelBank:
    """A bank that knows the catalogue, with its machine code loaded."""
    few = task.batch.part(0, _FIRST_EVENTS)
    ModelBank(task.settings).advance(few, np.ones(len(few.users), np.bool_))
    bank = ModelBank(task.settings)
    describe_items(bank, task.items)
    return bank


def _replayed(bank: ModelBank, task: Task, models: Sequence[str], progress: Progress) -> Record:
    return replay(bank, task.batch, task.ranked, warm_up_events(len(task.ranked)), models, progress=progress)
