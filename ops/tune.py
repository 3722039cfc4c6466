"""`freshet tune`: chooses model settings on the warm-up of a stream, the first 20 % of its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from evaluation.metrics.single_target import ndcg_at
from evaluation.prequential import Progress, replay
from evaluation.protocol import Mode, in_time_order, questions, warm_up_events
from evaluation.search import Fields, Found, Scores, search
from evaluation.search_space import SPACE
from ops.evaluate import Say, announce, compile_models
from ops.evaluate_source import Asked, catalogue, describe_items, open_stream
from ops.json_objects import write_object
from ops.terminal import print_facts, print_table
from schemas.errors import InvalidInput
from schemas.horizons import HOUR_MS
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.settings import BankSettings

_FEWEST: Final = 400
"""Events of the warm-up below which every choice would be noise."""
_UNCOUNTED: Final = 0.25
"""Share of a trial's events that are learnt before they count."""


class Tuning(NamedTuple):
    """A finished search.

    Attributes:
        dataset: as a person asked for it. events: of the warm-up, all that was looked at.
        path: the settings file that was written.
    """

    dataset: str
    mode: Mode
    seed: int
    events: int
    path: Path
    found: Found


def checked_out_path(path: Path) -> Path:
    """The path itself, before a long run depends on it.

    Raises:
        InvalidInput: it is a folder, or in none.
    """
    full = path.expanduser().absolute()
    if full.is_dir() or not full.parent.is_dir():
        raise InvalidInput(f"--out {path}: {'is a folder' if full.is_dir() else f'there is no folder {full.parent}'}")
    return path.expanduser()


def tune(asked: Asked, data: Path | None, mode: Mode, trials: int, seed: int, out: Path, say: Say, progress: Progress) -> Tuning:
    """Search on the warm-up and write the settings file. Of later events nothing but their number is used.

    Args:
        data: folder of the public data sets.
        trials: choices of each group in the first round.
        out: the file to write.

    Raises:
        InvalidInput: no such source, bad data, or too few events to choose anything.
        InvalidSettings: the file cannot be written.
    """
    stream = open_stream(asked, data)
    announce(stream, say)
    count = warm_up_events(stream.size)
    if count < _FEWEST:
        raise InvalidInput(f"{asked.source}: the first 20 % are {count:,} events; at least {_FEWEST} are needed to choose settings")
    say(f"choosing on the first {count:,} events (20 %)")
    batch = in_time_order(stream.interactions(count))
    items, rng = catalogue(stream.source), np.random.default_rng(seed)
    # every trial learns all events of the warm-up: a part of them, cut off early, would be another stream
    asked_first = rng.permutation(np.flatnonzero(questions(batch, mode)))
    fixed: dict[str, Any] = {"seed": seed, "repeats": mode == "B"}
    compile_models(BankSettings.from_mapping(dict(fixed)), batch, say)

    def measure(fields: Fields, number: int) -> Scores:
        bank = ModelBank(BankSettings.from_mapping({**fixed, **fields}))
        describe_items(bank, items)
        ranked = np.zeros(count, np.bool_)
        ranked[asked_first[:number]] = True
        record = replay(bank, batch, ranked, int(count * _UNCOUNTED))
        means = ndcg_at(record.ranks[record.counted], 10).mean(axis=0)
        return dict(zip(record.names, means.tolist(), strict=True))

    found = search(measure, len(asked_first), trials, rng, progress=progress)
    write_object(out, found.best.fields)
    return Tuning(asked.source, mode, seed, count, out, found)


def as_document(done: Tuning) -> dict[str, Any]:
    """Everything as the one JSON document of `--json`."""
    return {
        "dataset": done.dataset,
        "mode": done.mode,
        "seed": done.seed,
        "warm_up_events": done.events,
        "metric": "ndcg@10",
        "default": dict(done.found.defaults.scores),
        "chosen": dict(done.found.best.scores),
        "settings": done.found.best.fields,
        "file": done.path,
        "trials": [trial._asdict() for trial in done.found.trials],
    }


def print_tuning(done: Tuning) -> None:
    """The trials, best first within each round, and what was chosen, on stdout."""
    models = list(dict.fromkeys(group.judge for group in SPACE.values()))
    rows = [
        (trial.round, trial.questions, *(f"{trial.scores[model]:.4f}" for model in models), _chosen(done.found, trial.fields))
        for trial in sorted(done.found.trials, key=lambda trial: (trial.round, -trial.scores["blend"]))
    ]
    print_table(("round", "questions", *(f"{model}\nndcg@10" for model in models), ""), rows)
    defaults, best = done.found.defaults.scores["blend"], done.found.best.scores["blend"]
    usual = BankSettings()
    chosen = done.found.best.fields.items()
    print()
    print_facts(
        {
            **{name: f"{_shown(name, value)}  (default {_shown(name, getattr(usual, name))})" for name, value in chosen},
            "blend, ndcg@10": f"{best:.4f} with these, {defaults:.4f} with the defaults, on the {done.events:,} events chosen on",
            "written": done.path,
        }
    )


def _shown(name: str, value: Any) -> str:
    """A setting for a person: times in hours."""
    if isinstance(value, tuple):
        return " ".join(_shown(name, part) for part in value)
    return f"{value / HOUR_MS:.3g} h" if "half_li" in name or name.endswith("_tau") else str(value)


def _chosen(found: Found, fields: Fields) -> str:
    marks = (["defaults"] if not fields else []) + (["chosen"] if fields == found.best.fields else [])
    return ", ".join(marks)
