"""`freshet batch run`: bring the lake up to date, train what is due, let the gate decide, publish; once or again and again."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from batch.datasets.interactions import InteractionLog, joined
from batch.datasets.splits import FUTURE, Split, split
from batch.judging import Judgement, judge
from batch.lake.interactions import Interactions
from batch.models.configured import configured
from batch.models.interface import Watch
from batch.promotion import Background, Candidate, Published, publish_candidate
from batch.questions import Questions, questions
from batch.registry.gate import BASELINES
from feature_store.batch_status import STATUS, note_run
from feature_store.model_versions import read_manifest
from feature_store.version_pointers import read_state
from ops.batch_settings import NONE_CHOSEN, Chosen
from ops.batch_start import SCRATCH, Diary, from_serving
from ops.batch_train import Bar, Say, checked_names
from schemas.errors import FreshetError, InvalidInput
from stream_workers.models.deep.scorer import Scorer

_LOCK: Final = ".batch-run.lock"


class Plan(NamedTuple):
    """What a run does.

    Attributes:
        root: folder of the published models. models: names. seed: of everything random.
        least_new: a model is due when so many interactions came since it was trained; 0: always.
        warm: begin with the weights of the serving version where that can be.
        settings: of models that are not to have their defaults.
    """

    root: Path
    models: tuple[str, ...]
    seed: int
    least_new: int = 1000
    warm: bool = True
    settings: Chosen = NONE_CHOSEN


class Done(NamedTuple):
    """What a run did: interactions it had, and of each model that was due what became of it."""

    interactions: int
    published: dict[str, Published]
    not_due: tuple[str, ...]
    seconds: float

    def as_document(self) -> dict[str, Any]:
        """For `--json`."""
        models = {
            name: {"version": one.version, "serves": one.verdict.promote, "reasons": one.verdict.reasons, "began": one.began}
            for name, one in self.published.items()
        }
        return {"interactions": self.interactions, "seconds": self.seconds, "models": models, "not_due": self.not_due}


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Hold the lock of the folder: two runs would train the same twice and take each other's memory.

    Raises:
        InvalidInput: another run holds it, or the folder cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / _LOCK).open("w")
    except OSError as error:
        raise InvalidInput(f"folder of the models {root}: {error.strerror or error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInput(f"another `freshet batch run` is at work on {root}; wait for it, or end it") from error
        yield


def run_once(found: Interactions, plan: Plan, say: Say, bar: Bar) -> Done:
    """Train what is due, judge it on the newest tenth of the log, publish what passes the gate.

    Args:
        found: what the lake has.

    Raises:
        InvalidInput: a log too short to be split, unknown models.
        TrainingFailed, NotStored, CorruptVersion: what serves goes on serving.
    """
    checked_names(plan.models)
    begun = time.monotonic()
    due = [name for name in plan.models if _is_due(plan, name, found.log)]
    if not due:
        return Done(found.log.size, {}, plan.models, time.monotonic() - begun)
    parts = split(found.log, FUTURE)
    asked = questions(joined(parts.train, parts.validation), parts.test)
    if not len(asked.users):
        raise InvalidInput(f"nobody took anything new among the newest {parts.test.size:,} interactions")
    fitted = {name: _fit(name, parts, asked, plan, say, bar) for name in dict.fromkeys((*BASELINES, *due))}
    run = Background(
        parts, asked, {name: fitted[name].judgement for name in BASELINES}, last_offsets(found.offsets), version("freshet"),
        plan.seed, _now_ms(),
    )  # fmt: skip
    published = {name: publish_candidate(plan.root, fitted[name], run) for name in due}
    return Done(found.log.size, published, tuple(set(plan.models) - set(due)), time.monotonic() - begun)


def run_every(seconds: float, once: Callable[[], object], root: Path, say: Say) -> None:
    """Run again and again, one begun every so many seconds; a run that fails is told of and the next one tried."""
    while True:
        begun = time.monotonic()
        try:
            once()
        except FreshetError as error:
            say(f"freshet: {error}")
        wait = max(0.0, begun + seconds - time.monotonic())
        say(f"next run in {wait / 60:.0f} minutes; state in {root / STATUS}")
        time.sleep(wait)


@contextmanager
def noted(root: Path) -> Iterator[None]:
    """Write down how the block ended, for the alert: a run that fails must not go unseen."""
    try:
        yield
    except BaseException as error:
        note_run(root, _now_ms(), str(error) or type(error).__name__)
        raise
    note_run(root, _now_ms(), None)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _is_due(plan: Plan, name: str, log: InteractionLog) -> bool:
    """Whether enough happened since the newest thing that the serving version knows."""
    serving = read_state(plan.root, name).serving
    if serving is None or not plan.least_new:
        return True
    last = read_manifest(plan.root, name, serving).trained_on.last_ms
    return int((log.timestamps > last).sum()) >= plan.least_new


def _fit(name: str, parts: Split, asked: Questions, plan: Plan, say: Say, bar: Bar) -> Candidate:
    say(f"{name}: training on {parts.train.size:,} interactions")
    warm = plan.warm and name in plan.models
    diary = Diary(from_serving(plan.root, name, int(parts.test.timestamps[0])) if warm else SCRATCH)
    begun = time.monotonic()
    model = configured(name, plan.settings.get(name, {}))
    scorer: Scorer = model.fit(parts.train, parts.validation, seed=plan.seed, watch=diary.watch(Watch(bar(name))))
    seconds = time.monotonic() - begun
    judgement: Judgement = judge(name, scorer, asked, parts.train, seed=plan.seed)
    if diary.told:
        say(f"{name}: {diary.told}")
    return Candidate(name, scorer, judgement, seconds, diary.weights, diary.parent, diary.told)


def last_offsets(ends: dict[str, int]) -> dict[str, int]:
    """`topic:partition` to the last offset, of `topic-partition` to the first one that was not read."""
    places = ((place.rpartition("-"), end) for place, end in ends.items() if end > 0)
    return {f"{topic}:{partition}": end - 1 for (topic, _, partition), end in places}


def summary(done: Done) -> Sequence[tuple[str, str, str]]:
    """Model, version, and what the gate said, for a table."""
    rows = [(name, one.version, " ".join(one.verdict.reasons)) for name, one in done.published.items()]
    return [*rows, *((name, "-", "not due: too few new interactions since the serving version") for name in sorted(done.not_due))]
