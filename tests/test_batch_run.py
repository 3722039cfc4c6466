"""The periodic run: what is due is trained, what passes the gate serves, and whatever goes wrong leaves what serves alone."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ops.batch_run as batch_run
from batch.lake.interactions import Interactions
from batch.models.interface import TrainingFailed
from batch.registry.pointers import Note, promote
from batch.weights import weights_path
from feature_store.batch_status import read_status
from feature_store.model_versions import read_manifest, version_names
from feature_store.version_pointers import read_state
from ops.batch_run import Plan, noted, one_at_a_time, run_every, run_once, summary
from ops.batch_run_cli import seconds_of
from ops.batch_start import from_serving
from schemas.errors import InvalidInput
from tests.tiny_log import tiny_log

MODEL = "co_visitation"


@pytest.fixture(scope="module")
def found() -> Interactions:
    """People who walk around rings: what comes next follows from what was taken last, and popularity says nothing."""
    return Interactions(tiny_log(users=1500), {"clicks-0": 9000, "views-0": 0})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


def run(found: Interactions, root: Path, least_new: int = 1000, model: str = MODEL, **others: Any) -> batch_run.Done:
    plan = Plan(root, (model,), 7, least_new, **others)
    return run_once(found, plan, lambda line: None, lambda name: lambda done, total: None)


def test_a_better_model_is_published_and_serves(found: Interactions, root: Path) -> None:
    done = run(found, root)
    published = done.published[MODEL]
    assert published.verdict.promote, published.verdict.reasons
    assert read_state(root, MODEL).serving == published.version
    manifest = read_manifest(root, MODEL, published.version)
    assert manifest.offsets == {"clicks:0": 8999}
    assert manifest.metrics["recall@10"] > 0.9
    assert manifest.trained_on.events < found.log.size
    assert summary(done)[0][:2] == (MODEL, published.version)


def test_what_is_not_due_is_not_trained_and_what_is_no_better_does_not_serve(found: Interactions, root: Path) -> None:
    first = run(found, root).published[MODEL].version
    assert run(found, root).not_due == (MODEL,)
    assert version_names(root, MODEL) == (first,)
    again = run(found, root, least_new=0).published[MODEL]
    assert not again.verdict.promote
    assert any("serving version" in reason for reason in again.verdict.reasons)
    state = read_state(root, MODEL)
    assert (state.serving, state.shadow) == (first, again.version)


def test_a_model_that_loses_to_a_baseline_stays_in_the_shadow(found: Interactions, root: Path) -> None:
    done = run(found, root, model="popularity_all_time").published["popularity_all_time"]
    assert not done.verdict.promote
    state = read_state(root, "popularity_all_time")
    assert (state.serving, state.shadow) == (None, done.version)


QUICK = {"mult_dae": {"width": 8, "epochs": 1, "batch": 512, "every": 50}}


def test_it_begins_with_the_weights_of_what_serves(root: Path) -> None:
    found = Interactions(tiny_log(users=150), {})

    def deep(**others: Any) -> tuple[str, str | None, str]:
        one = run(found, root, 0, "mult_dae", **{"settings": QUICK, **others}).published["mult_dae"]
        return one.version, read_manifest(root, "mult_dae", one.version).parent, one.began

    first, parent, began = deep()
    assert (parent, began) == (None, "trained from scratch: no version serves yet")
    promote(root, "mult_dae", first, Note(1, "ann", "a test"), force=True)
    _, parent, began = deep()
    assert parent == first
    assert began.startswith(f"began with {first}: ")
    _, parent, began = deep(settings={"mult_dae": {**QUICK["mult_dae"], "width": 9}})
    assert parent is None
    assert began.endswith("here it is 32 x 9")
    assert deep(warm=False)[1:] == (None, "")
    weights_path(root, "mult_dae", first).write_bytes(b"damaged")
    _, parent, began = deep()
    assert parent is None
    assert "cannot be read" in began
    weights_path(root, "mult_dae", first).unlink()
    assert deep()[1:] == (None, f"trained from scratch: the weights of {first} were not kept")


def test_weights_that_know_the_test_are_not_used(found: Interactions, root: Path) -> None:
    version = run(found, root, 0, "mult_dae", settings=QUICK).published["mult_dae"].version
    promote(root, "mult_dae", version, Note(1, "ann", "a test"), force=True)
    times = found.log.timestamps
    early = from_serving(root, "mult_dae", int(times[found.log.size * 8 // 10]))
    assert early.weights is None
    assert "is judged on what happened since" in early.note
    assert from_serving(root, "mult_dae", int(times[-1])).origin == version


class Diverges:
    """A model whose loss is not a number."""

    def fit(self, *log: Any, **options: Any) -> Any:
        raise TrainingFailed("co_visitation: the loss of epoch 1 is nan")


def test_a_failed_training_leaves_what_serves_and_is_written_down(
    found: Interactions, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with noted(root), one_at_a_time(root):
        serving = run(found, root).published[MODEL].version
    good = read_status(root)
    assert (good.failures, good.failure) == (0, None)
    monkeypatch.setattr(batch_run, "configured", lambda name, settings: Diverges())
    with pytest.raises(TrainingFailed), noted(root):
        run(found, root, least_new=0)
    assert read_state(root, MODEL).serving == serving
    bad = read_status(root)
    assert bad.failures == 1
    assert bad.failure is not None and "nan" in bad.failure
    assert bad.succeeded_at == good.succeeded_at
    assert bad.ended_at is not None and good.ended_at is not None and bad.ended_at >= good.ended_at


def test_two_runs_never_train_at_once(root: Path) -> None:
    with one_at_a_time(root), pytest.raises(InvalidInput, match="another"), one_at_a_time(root):
        raise AssertionError("the second run began")
    with one_at_a_time(root), (root / ".batch-run.lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with one_at_a_time(root):
        pass


def test_it_goes_on_after_a_failure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: Iterator[Exception | None] = iter((InvalidInput("an empty lake"), None, KeyboardInterrupt()))  # type: ignore[arg-type]
    told: list[str] = []
    waits: list[float] = []
    monkeypatch.setattr("ops.batch_run.time.sleep", waits.append)

    def once() -> None:
        if (error := next(turns)) is not None:
            raise error

    with pytest.raises(KeyboardInterrupt):
        run_every(3600, once, root, told.append)
    assert told[0] == "freshet: an empty lake"
    assert [round(wait) for wait in waits] == [3600, 3600]


@pytest.mark.parametrize("text", ["6", "h", "-1h", "5s", "1w", ""])
def test_a_pause_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected a number"):
        seconds_of(text)
