"""Searching a model's settings: trained on the older part of a log, judged on the later one, each trial written down at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from batch.datasets.interactions import InteractionLog
from batch.models.catalogue import model_class
from batch.models.configured import configured
from batch.models.interface import BatchModel, Epoch, OneOf, Progress, Span, TrainingFailed, Watch
from batch.models.later_quality import later_quality
from schemas.errors import InvalidInput

_SECONDS: Final = "seconds"
_EPOCHS: Final = "epochs"
_FAILED: Final = "training failed"


class Budget(NamedTuple):
    """When a search ends: after so many trials, those of earlier runs among them, or so many minutes of this one.

    Raises:
        InvalidInput: by `checked`: neither, or nothing of one.
    """

    trials: int | None = None
    minutes: float | None = None

    def checked(self) -> Budget:
        """Itself."""
        if self.trials is None and self.minutes is None:
            raise InvalidInput("a search needs an end: give --budget TRIALS or --minutes MINUTES")
        if self.trials is not None and self.trials < 1:
            raise InvalidInput(f"--budget {self.trials}: expected at least 1 trial")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise InvalidInput(f"--minutes {self.minutes}: expected more than 0")
        return self


class Tried(NamedTuple):
    """A trial: its settings, the quality on later time (None: its training failed), epochs and seconds of training."""

    number: int
    settings: dict[str, Any]
    quality: float | None
    epochs: int
    seconds: float


class Found(NamedTuple):
    """A search: all trials, the best first; those of earlier runs of it, `resumed` in number, among them."""

    model: str
    trials: tuple[Tried, ...]
    resumed: int

    @property
    def best(self) -> Tried:
        """Of the highest quality.

        Raises:
            TrainingFailed: there is none.
        """
        if not self.trials or self.trials[0].quality is None:
            raise TrainingFailed(f"{self.model}: none of {len(self.trials)} trials ended with a model; try lower rates")
        return self.trials[0]


def search(
    model: str, train: InteractionLog, later: InteractionLog, budget: Budget, journal: Path, *, study: str, seed: int,
    progress: Progress = lambda done, total: None,
) -> Found:  # fmt: skip
    """Try settings of `model.space`, the defaults first, the others where earlier trials say that better ones are (TPE).

    Quality is that of early stopping: of the best epoch on `later`, or of the scorer, for models without epochs. The part that a
    model is judged on in the end is not even here. Tree-structured Parzen estimator: Bergstra et al., NeurIPS 2011.

    Args:
        journal: file of the trials; a search that was killed goes on with it, its unfinished trial is tried again.
        study: name of the search in the journal; what the qualities depend on should be part of it.

    Raises:
        InvalidInput: no such model, one with nothing to search, a budget of nothing, or a journal that cannot be used.
    """
    if not model_class(model).space:
        raise InvalidInput(f"{model} has nothing to search: it chooses its settings while it is trained")
    trials = _opened(budget.checked(), journal, study, seed)
    resumed = _ended(trials)
    if not trials.trials:
        trials.enqueue_trial(_usual(model))
    left = None if budget.trials is None else max(0, budget.trials - resumed)
    if left != 0:
        trials.optimize(
            lambda trial: _quality(trial, model, train, later, seed), n_trials=left,
            timeout=None if budget.minutes is None else 60 * budget.minutes, catch=(TrainingFailed,),
            callbacks=[lambda now, trial: progress(_ended(now), budget.trials or _ended(now))],
        )  # fmt: skip
    return Found(model, _by_quality(trials), resumed)


def _usual(model: str) -> dict[str, Any]:
    """The defaults of what is searched."""
    kind = model_class(model)
    return {field.name: field.default for field in fields(kind) if field.name in kind.space}  # type: ignore[arg-type]


def _quality(trial: Any, model: str, train: InteractionLog, later: InteractionLog, seed: int) -> float:
    """Train with what the trial suggests."""
    settings = {name: _suggested(trial, name, choice) for name, choice in model_class(model).space.items()}
    epochs: list[Epoch] = []
    began = time.monotonic()
    try:
        return _reached(configured(model, settings), epochs, train, later, seed)
    except TrainingFailed:
        trial.set_user_attr(_FAILED, True)
        raise
    finally:
        trial.set_user_attr(_SECONDS, time.monotonic() - began)
        trial.set_user_attr(_EPOCHS, len(epochs))


def _reached(model: BatchModel, epochs: list[Epoch], train: InteractionLog, later: InteractionLog, seed: int) -> float:
    """The quality on later time; the epochs are appended."""
    scorer = model.fit(train, later, seed=seed, watch=Watch(log=lambda number, epoch: epochs.append(epoch)))
    if epochs:
        return max(epoch.validation for epoch in epochs)
    judge = later_quality(train, later, seed=seed)
    if judge is None:
        raise InvalidInput("nobody took anything new in the part that settings are chosen by; give a longer log")
    return judge(scorer)


def _suggested(trial: Any, name: str, choice: Span | OneOf) -> Any:
    if isinstance(choice, OneOf):
        return trial.suggest_categorical(name, choice.options)
    suggest: Callable[..., Any] = trial.suggest_int if isinstance(choice.low, int) else trial.suggest_float
    return suggest(name, choice.low, choice.high, log=choice.log)


def _opened(budget: Budget, journal: Path, name: str, seed: int) -> Any:
    """The study, its killed trials marked as such and put in line again."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"journal {journal} cannot be used: {error}; name another, or remove it") from error
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))  # other dice than before an interruption
    return study


def _ended(study: Any) -> int:
    """How many trials count; those that a kill ended do not."""
    return len(_counted(study))


def _counted(study: Any) -> list[Any]:
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state is TrialState.COMPLETE or _FAILED in trial.user_attrs]


def _by_quality(study: Any) -> tuple[Tried, ...]:
    """Those whose training failed come last."""
    tried = [
        Tried(one.number, dict(one.params), one.value, one.user_attrs[_EPOCHS], one.user_attrs[_SECONDS]) for one in _counted(study)
    ]
    return tuple(sorted(tried, key=lambda one: (one.quality is None, -(one.quality or 0), one.number)))
