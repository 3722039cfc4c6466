"""The command `freshet batch run`: parse, read the settings, call one function each."""

# ruff: noqa: PLC0415 - imports inside the command, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ops.batch_cli import ModelSettings
from ops.command_settings import resolved, settings_of
from ops.evaluate_cli import Json
from schemas.errors import InvalidInput

if TYPE_CHECKING:
    from ops.batch_run import Done
    from schemas.settings import Settings

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LEAST_PAUSE: Final = 60
WAIT_FOR_LAKE: Final = 600.0  # seconds, for another sync or compaction to end

Models = Annotated[
    list[str] | None, typer.Argument(metavar="[MODEL ...]", help="Models to train; the sources of the blend otherwise.")
]
Warm = Annotated[bool, typer.Option("--warm/--scratch", help="Begin with the serving version's weights where the model can.")]


def run(
    models: Models = None,
    every: Annotated[str | None, typer.Option(help="Go on, one run each 30m, 6h or 1d.")] = None,
    lake: Annotated[str | None, typer.Option(metavar="PLACE", help="Folder or URL of the lake, as in `freshet lake sync`.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the published models; FRESHET_MODELS otherwise.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 7,
    least_new: Annotated[int, typer.Option(min=0, help="A model is due after so many new interactions.")] = 1000,
    warm: Warm = True,
    settings_file: ModelSettings = None,
    sync: Annotated[bool, typer.Option("--sync/--no-sync", help="Bring the lake to where Kafka's log ends first.")] = True,
    name: Annotated[str, typer.Option(help="Name of the local stack; several can stand side by side.")] = "default",
    json_output: Json = False,
) -> None:
    """Sync the lake, train what is due, let the gate compare it with what serves, publish what passes.

    Example: `freshet batch run session_rnn --every 6h`
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is loaded: its notes on the CPU are no news
    from batch.lake.reading import interactions, open_lake
    from ops import terminal
    from ops.batch_progress import training_bars
    from ops.batch_run import Plan, noted, one_at_a_time, run_every, run_once
    from ops.batch_settings import read_chosen
    from ops.lake_cli import sync_lake

    pause, settings = None if every is None else seconds_of(every), settings_of()
    if root is None or (sync and not settings.kafka):
        settings = resolved(name)
    names = tuple(models or settings.batch_models)
    plan = Plan(_folder(root, settings), names, seed, least_new, warm, read_chosen(settings_file))
    place = open_lake(lake or str(settings.home / "lakes" / name))

    def once() -> None:
        with noted(plan.root):
            if sync:
                sync_lake(place, settings, WAIT_FOR_LAKE)
            with training_bars() as bar:
                done = run_once(interactions(place), plan, terminal.say, bar)
        _show(done, json_output)

    with one_at_a_time(plan.root):
        once() if pause is None else run_every(pause, once, plan.root, terminal.say)


def _show(done: Done, json_output: bool) -> None:
    from ops import terminal
    from ops.batch_run import summary

    if json_output:
        terminal.print_json(done.as_document())
    else:
        terminal.print_table(("model", "version", "the gate"), summary(done))


def seconds_of(text: str) -> float:
    """The seconds of 45s, 30m, 6h or 1d.

    Raises:
        InvalidInput: anything else, or less than a minute.

    >>> seconds_of("6h")
    21600.0
    """
    found = re.fullmatch(r"(\d+)([smhd])", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds < LEAST_PAUSE:
        raise InvalidInput(f"--every {text}: expected a number and s, m, h or d, a minute or more: 30m, 6h, 1d")
    return seconds


def _folder(root: Path | None, settings: Settings) -> Path:
    folder = root or settings.models
    if folder is None:
        raise InvalidInput("no folder for the models: give --root, or set FRESHET_MODELS")
    return folder.expanduser().absolute()
