"""The command `freshet batch tune`: parse, read the settings, call one function."""

# ruff: noqa: PLC0415 - imports inside the command, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from ops.command_settings import settings_of
from ops.evaluate_cli import Json, Limit, Rating


def tune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Which; a wrong name lists them.")],
    data: Annotated[str, typer.Option(metavar="lake:PATH|DATASET", help="As in `freshet batch train`.")] = "lake:lake",
    budget: Annotated[int | None, typer.Option(metavar="TRIALS", help="Trials in all; 20 without --minutes.")] = None,
    minutes: Annotated[float | None, typer.Option(help="No new trial after so many minutes.")] = None,
    split: Annotated[Literal["future", "leave-one-out"], typer.Option(help="As in `freshet batch train`.")] = "future",
    out: Annotated[Path, typer.Option(help="Settings file to write; of other models in it nothing changes.")] = Path("batch.json"),
    journal: Annotated[
        Path | None, typer.Option(help="File of the trials, which a search that was killed goes on with; beside --out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
    limit: Limit = None,
    min_rating: Rating = None,
    json_output: Json = False,
) -> None:
    """Search a model's settings: trained on the oldest interactions, judged on the next ones; the newest are not looked at.

    Example: `freshet batch tune two_tower --data lake:./lake --minutes 10 --out found.json`, for `freshet batch run --settings`
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is loaded: its notes on the CPU are no news
    from batch.models.catalogue import entry
    from batch.tuning import Budget
    from ops import terminal
    from ops.batch_progress import training_bars
    from ops.batch_source import read_log
    from ops.batch_tune import Search, as_document, checked_files, print_search
    from ops.batch_tune import tune as search_settings
    from ops.evaluate_source import Asked

    wanted = Budget(20 if budget is None and minutes is None else budget, minutes).checked()
    files = checked_files(out, journal)
    asked = Search(data, entry(model).name, split, wanted, seed, *files)
    log = read_log(Asked(data, min_rating, limit), settings_of().data)
    with training_bars() as bar:
        found = search_settings(log, asked, terminal.say, bar(model))
    if json_output:
        terminal.print_json(as_document(found, asked))
    else:
        print_search(found, asked)
