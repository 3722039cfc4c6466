"""`freshet batch tune`: search a model's settings on a log, show the best trials, write the settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from batch.datasets.interactions import InteractionLog
from batch.datasets.splits import split
from batch.models.catalogue import model_class
from batch.models.interface import Progress
from batch.tuning import Budget, Found, search
from ops.batch_settings import write_chosen
from ops.batch_train import Say
from ops.terminal import print_facts, print_table
from schemas.errors import InvalidInput

_SHOWN: Final = 10


class Search(NamedTuple):
    """What a person asked for.

    Attributes:
        source: as it is shown. split: as in `freshet batch train`; its test part is not looked at.
        out: the settings file to write. journal: file of the trials.
    """

    source: str
    model: str
    split: str
    budget: Budget
    seed: int
    out: Path
    journal: Path


def tune(log: InteractionLog, asked: Search, say: Say, progress: Progress) -> Found:
    """Search, and write what differs from the defaults in the best settings.

    Raises:
        InvalidInput: as `search`, or a log that cannot be split. InvalidSettings: the file is none of ours, or cannot be written.
        TrainingFailed: no trial ended with a model.
    """
    asked.budget.checked()
    parts = split(log, asked.split)
    study = f"{asked.model} on {asked.source}, {asked.split}, {log.size} interactions, seed {asked.seed}"
    say(f"{study}: learning from {parts.train.size:,}, choosing by {parts.validation.size:,}, {parts.test.size:,} not looked at")
    found = search(
        asked.model, parts.train, parts.validation, asked.budget, asked.journal, study=study, seed=asked.seed, progress=progress
    )
    if found.resumed:
        say(f"{found.resumed} of the trials are of an earlier run ({asked.journal})")
    write_chosen(asked.out, asked.model, changed(found))
    return found


def changed(found: Found) -> dict[str, Any]:
    """What differs from the defaults in the best settings."""
    usual = model_class(found.model)()
    return {name: value for name, value in found.best.settings.items() if getattr(usual, name) != value}


def checked_files(out: Path, journal: Path | None) -> tuple[Path, Path]:
    """The settings file and the journal, which stands beside it unless it is named.

    Raises:
        InvalidInput: one is a folder, or in none.
    """
    full = out.expanduser().absolute()
    both = full, full.with_suffix(".journal") if journal is None else journal.expanduser().absolute()
    for path in both:
        if path.is_dir() or not path.parent.is_dir():
            raise InvalidInput(f"{path}: {'is a folder' if path.is_dir() else f'there is no folder {path.parent}'}")
    return both


def as_document(found: Found, asked: Search) -> dict[str, Any]:
    """For `--json`."""
    trials = [trial._asdict() for trial in found.trials]
    facts = {"model": found.model, "source": asked.source, "split": asked.split, "seed": asked.seed, "resumed": found.resumed}
    return {**facts, "settings": changed(found), "file": asked.out, "journal": asked.journal, "trials": trials}


def print_search(found: Found, asked: Search) -> None:
    """The best trials and what was chosen, on stdout."""
    names = list(model_class(found.model).space)
    rows = [
        (one.number, _short(one.quality), one.epochs, f"{one.seconds:.1f}", *(_short(one.settings.get(name)) for name in names))
        for one in found.trials[:_SHOWN]
    ]
    print_table(("trial", "quality", "epochs", "seconds", *names), rows)
    chosen = changed(found)
    print()
    first = next((one.quality for one in found.trials if one.number == 0), None)
    print_facts(
        {
            "trials": f"{len(found.trials)}, quality on the validation part: NDCG of the first new item, all items ranked",
            "best": f"{_short(found.best.quality)}, with the defaults (trial 0) {_short(first)}",
            **{name: _short(value) for name, value in chosen.items()},
            "written": asked.out if chosen else f"{asked.out}: nothing, the defaults are best",
        }
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
