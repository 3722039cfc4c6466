"""`freshet batch train`: the log, the split, one model after the other, and what each of them is worth."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from safetensors.numpy import save_file

from batch.datasets.interactions import InteractionLog, joined
from batch.datasets.splits import Split, split
from batch.judging import judge
from batch.models.catalogue import NAMES, entry, model_class
from batch.models.interface import Epoch, Progress, Watch
from batch.questions import Questions, questions
from batch.report import Run, Trained, as_document, cost_of
from schemas.errors import InvalidInput
from stream_workers.models.deep.scorer import Scorer

if TYPE_CHECKING:
    from ops.batch_tensorboard import Traces

Say = Callable[[str], None]
Bar = Callable[[str], Progress]
"""Begins the progress bar of a model."""


class Wanted(NamedTuple):
    """What a person asked for.

    Attributes:
        source: as it is shown. models: names, empty: all.
        exclude_taken: leave what a user had out of the lists.
        out: folder for `report.json`, checkpoints and trained models; None: nothing is kept.
        tensorboard: folder for TensorBoard; None: none.
    """

    source: str
    models: tuple[str, ...]
    split: str
    seed: int
    exclude_taken: bool = True
    out: Path | None = None
    tensorboard: Path | None = None


def train_all(log: InteractionLog, wanted: Wanted, say: Say, bar: Bar) -> Run:
    """Train the models, one after the other, and judge them on the same questions.

    With `out` a model whose training was killed goes on behind its last epoch; those that were finished are trained again.

    Raises:
        InvalidInput: an unknown model, a log that cannot be split, nobody to ask, or a folder that cannot be written.
        TrainingFailed: a loss was not finite.
    """
    names = checked_names(wanted.models)
    parts = split(log, wanted.split)
    asked = questions(joined(parts.train, parts.validation), parts.test, repeats=not wanted.exclude_taken)
    if not len(asked.users):
        raise InvalidInput(f"nobody took anything new in the test part of {wanted.source} ({parts.test.size:,} interactions)")
    made_folders(wanted)
    done = []
    for name in names:
        say(f"{name}: training on {parts.train.size:,} interactions")
        done.append(_trained(name, parts, asked, wanted, bar))
    run = Run(
        wanted.source, wanted.split, wanted.seed, wanted.exclude_taken, len(log.user_ids), log.catalogue.size,
        parts.train.size, parts.validation.size, parts.test.size, tuple(done),
    )  # fmt: skip
    if wanted.out is not None:
        (wanted.out / "report.json").write_text(json.dumps(as_document(run), indent=2) + "\n")
    return run


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """The models' names, all of them if none was given.

    Raises:
        InvalidInput: an unknown one, one given twice, or one that cannot be imported; said before the first is trained.
    """
    if len(set(names)) < len(names):
        raise InvalidInput(f"a model is named twice: {' '.join(names)}")
    chosen = tuple(names) or NAMES
    for name in chosen:
        model_class(name)
    return chosen


def made_folders(wanted: Wanted) -> None:
    """Make the folders of `out` and `tensorboard`.

    Raises:
        InvalidInput: one cannot be made.
    """
    for folder in filter(None, (wanted.out, wanted.tensorboard)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"folder {folder} cannot be made: {error.strerror or error}") from error


def _trained(name: str, parts: Split, asked: Questions, wanted: Wanted, bar: Bar) -> Trained:
    checkpoint = None if wanted.out is None else wanted.out / f"{name}.checkpoint.npz"
    epochs: list[Epoch] = []
    with ExitStack() as stack:
        traces = None if wanted.tensorboard is None else stack.enter_context(_traces(wanted.tensorboard / name, parts.train))

        def note(number: int, epoch: Epoch) -> None:
            epochs.append(epoch)
            if traces is not None:
                traces.epoch(number, epoch)

        watch = Watch(bar(name), note, None if checkpoint is None else str(checkpoint))
        started = time.perf_counter()
        scorer = model_class(name)().fit(parts.train, parts.validation, seed=wanted.seed, watch=watch)
        seconds = time.perf_counter() - started
        if traces is not None:
            traces.embeddings(scorer)
    if wanted.out is not None and checkpoint is not None:
        save_scorer(scorer, wanted.out / f"{name}.safetensors")
        checkpoint.unlink(missing_ok=True)
    judgement = judge(name, scorer, asked, parts.train, seed=wanted.seed, exclude_taken=wanted.exclude_taken)
    return Trained(judgement, cost_of(scorer, seconds), tuple(epochs), entry(name).deep)


def _traces(folder: Path, train: InteractionLog) -> Traces:
    from ops.batch_tensorboard import Traces  # noqa: PLC0415 - needs TensorFlow, which the baselines do without

    return Traces(folder, train)


def save_scorer(scorer: Scorer, path: Path) -> None:
    """Its arrays in one file; kind and settings as the file's metadata."""
    arrays = {name: array.copy(order="C") for name, array in scorer.arrays().items()}
    save_file(arrays, path, {"kind": scorer.kind, "settings": json.dumps(dict(scorer.settings()))})
