"""`freshet batch train`: the log, the split, one model after the other, and what each of them is worth."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from batch.datasets.interactions import InteractionLog, joined
from batch.datasets.splits import Split, split
from batch.judging import judge
from batch.models.catalogue import NAMES, entry, model_class
from batch.models.configured import configured
from batch.models.interface import Epoch, Progress, Shuffles, Watch
from batch.models.later_quality import later_quality
from batch.questions import Questions, questions
from batch.report import Run, Trained, as_document, cost_of
from batch.shuffling import drops
from batch.weights import write_weights
from ops.batch_settings import NONE_CHOSEN, Chosen
from ops.batch_start import SCRATCH, Diary, Start, from_named
from schemas.errors import InvalidInput
from stream_workers.models.deep.autoencoder import AutoRecScorer
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
        settings: of models that are not to have their defaults.
        start: version or file of weights to begin with, for one model alone; None: from scratch. root: where versions are.
        importance: also see which groups of features matter.
    """

    source: str
    models: tuple[str, ...]
    split: str
    seed: int
    exclude_taken: bool = True
    out: Path | None = None
    tensorboard: Path | None = None
    settings: Chosen = NONE_CHOSEN
    start: str | None = None
    root: Path | None = None
    importance: bool = False


def train_all(log: InteractionLog, wanted: Wanted, say: Say, bar: Bar) -> Run:
    """Train the models, one after the other, and judge them on the same questions.

    With `out` a model whose training was killed goes on behind its last epoch; those that were finished are trained again.

    Raises:
        InvalidInput: an unknown model, a log that cannot be split, nobody to ask, or a folder that cannot be written.
        TrainingFailed: a loss was not finite.
    """
    names = checked_names(wanted.models)
    if wanted.start is not None and len(names) > 1:
        raise InvalidInput(f"--from {wanted.start}: name the one model that these weights are of, not {len(names)}")
    parts = split(log, wanted.split)
    asked = questions(joined(parts.train, parts.validation), parts.test, repeats=not wanted.exclude_taken)
    if not len(asked.users):
        raise InvalidInput(f"nobody took anything new in the test part of {wanted.source} ({parts.test.size:,} interactions)")
    made_folders(wanted)
    done = []
    for name in names:
        say(f"{name}: training on {parts.train.size:,} interactions")
        done.append(_trained(name, parts, asked, wanted, bar))
        if done[-1].began:
            say(f"{name}: {done[-1].began}")
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
    diary = Diary(_start(name, parts, wanted))
    with ExitStack() as stack:
        traces = None if wanted.tensorboard is None else stack.enter_context(_traces(wanted.tensorboard / name, parts.train))

        def note(number: int, epoch: Epoch) -> None:
            epochs.append(epoch)
            if traces is not None:
                traces.epoch(number, epoch)

        watch = diary.watch(Watch(bar(name), note, None if checkpoint is None else str(checkpoint)))
        started = time.perf_counter()
        scorer = configured(name, wanted.settings.get(name, {})).fit(parts.train, parts.validation, seed=wanted.seed, watch=watch)
        seconds = time.perf_counter() - started
        if traces is not None:
            traces.embeddings(scorer)
    if wanted.out is not None and checkpoint is not None:
        save_scorer(scorer, wanted.out / f"{name}.safetensors")
        if diary.weights is not None:
            write_weights(wanted.out / f"{name}.weights.npz", diary.weights)
        checkpoint.unlink(missing_ok=True)
    judgement = judge(name, scorer, asked, parts.train, seed=wanted.seed, exclude_taken=wanted.exclude_taken)
    worth = _importance(scorer, diary.shuffles, parts, wanted.seed) if wanted.importance else {}
    rmse = _rating_errors(scorer, parts)
    return Trained(judgement, cost_of(scorer, seconds), tuple(epochs), entry(name).deep, diary.told, worth, rmse)


def _rating_errors(scorer: Scorer, parts: Split) -> dict[str, float]:
    """How well a model that foretells ratings does that; nothing for others."""
    if not isinstance(scorer, AutoRecScorer):
        return {}
    from batch.models.autorec import rating_errors  # noqa: PLC0415 - needs TensorFlow, which the baselines do without

    return rating_errors(scorer, parts.train, joined(parts.train, parts.validation), parts.test)


def _importance(scorer: Scorer, shuffles: Shuffles, parts: Split, seed: int) -> dict[str, float]:
    """What each group of features is worth on the validation part; nothing where there is nothing to judge on."""
    quality = later_quality(parts.train, parts.validation, seed=seed)
    if quality is None or not shuffles:
        return {}
    ways = {group: lambda rng, make=make: quality(make(rng)) for group, make in shuffles.items()}
    return drops(quality(scorer), ways, np.random.default_rng(seed))


def _start(name: str, parts: Split, wanted: Wanted) -> Start:
    if wanted.start is None:
        return SCRATCH
    return from_named(wanted.start, wanted.root, name, int(parts.test.timestamps[0]))


def _traces(folder: Path, train: InteractionLog) -> Traces:
    from ops.batch_tensorboard import Traces  # noqa: PLC0415 - needs TensorFlow, which the baselines do without

    return Traces(folder, train)


def save_scorer(scorer: Scorer, path: Path) -> None:
    """Its arrays in one file; kind and settings as the file's metadata."""
    arrays = {name: array.copy(order="C") for name, array in scorer.arrays().items()}
    save_file(arrays, path, {"kind": scorer.kind, "settings": json.dumps(dict(scorer.settings()))})
