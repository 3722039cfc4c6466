"""The replay in two processes says what it says in one, and a second process that ends early is told of."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from evaluation.prequential import beside
from evaluation.protocol import questions
from ops import evaluate_replay
from ops.evaluate_replay import ASIDE, Task, timed_replay
from ops.evaluate_source import CatalogueItem
from schemas.errors import FreshetError
from stream_workers.models.online.bank import OWN_MODELS
from tests.online_models import MINUTE, SMALL, START, clicks


@pytest.fixture(scope="module")
def task() -> Task:
    rng = np.random.default_rng(5)
    users = [f"u{n}" for n in rng.integers(25, size=900)]
    items = [f"i{n}" for n in rng.zipf(1.6, size=900) % 35]
    batch = clicks(users, items)._replace(timestamps=START + MINUTE * np.arange(900, dtype=np.int64))
    catalogue = [CatalogueItem(f"i{n}", (f"genre{n % 4}",), f"Film {n} ({1980 + n})") for n in range(35)]
    return Task(SMALL, catalogue, batch, questions(batch, "A"))


def test_two_processes_come_to_what_one_comes_to(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_replay, "WORTH_IT", 0)
    told: list[int] = []
    one, _ = timed_replay(task, OWN_MODELS, 1, lambda done, total: None)
    two, seconds = timed_replay(task, OWN_MODELS, 2, lambda done, total: told.append(done))
    assert one.names == two.names == OWN_MODELS
    for name, first, second in zip(one._fields, one, two, strict=True):
        assert np.array_equal(np.asarray(first), np.asarray(second)), name
    assert all((one.ranks[:, column] > 0).any() for column in range(len(OWN_MODELS)))
    assert (told[-1], seconds > 0) == (900, True)


def test_one_process_is_enough_for_a_few_events_or_models(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_replay, "_Other", None)  # would be called
    assert timed_replay(task, OWN_MODELS, 2, lambda done, total: None)[0].names == OWN_MODELS
    monkeypatch.setattr(evaluate_replay, "WORTH_IT", 0)
    for models in (ASIDE, ("blend", "item_vectors")):
        assert timed_replay(task, models, 2, lambda done, total: None)[0].names == models


def test_a_second_process_that_is_killed_is_told_of(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_replay, "WORTH_IT", 0)
    started: list[int] = []
    begin = evaluate_replay._Other.start

    def start_and_kill(other: evaluate_replay._Other) -> float:
        begun = begin(other)
        os.kill(other._process.pid or 0, signal.SIGKILL)
        started.append(other._process.pid or 0)
        return begun

    monkeypatch.setattr(evaluate_replay._Other, "start", start_and_kill)
    with pytest.raises(FreshetError, match="second process of the replay ended early, status -9"):
        timed_replay(task, OWN_MODELS, 2, lambda done, total: None)
    assert started


def test_records_of_different_replays_do_not_go_together(task: Task) -> None:
    whole, _ = timed_replay(task, ("blend",), 1, lambda done, total: None)
    half, _ = timed_replay(
        task._replace(batch=task.batch.part(0, 400), ranked=task.ranked[:400]), ("bpr",), 1, lambda done, total: None
    )
    with pytest.raises(ValueError, match="different replays"):
        beside(whole, half)
