"""The command `freshet batch train`: parse, read the settings, call one function."""

# ruff: noqa: PLC0415 - imports inside the commands, as in ops.cli: `freshet --help` must not load TensorFlow.

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ops.batch_tune_cli import tune
from ops.command_settings import settings_of
from ops.evaluate_cli import Json, Limit, Rating
from ops.slates_cli import Loss, Minutes, Publish, train_blend_ranker, train_ranker

if TYPE_CHECKING:
    from batch.report import Run

batch_app = typer.Typer(no_args_is_help=True)

Models = Annotated[list[str] | None, typer.Argument(metavar="[MODEL ...]", help="Which; all without. A wrong name lists them.")]
Data = Annotated[
    str,
    typer.Option(metavar="lake:PATH|DATASET", help="The event lake, or a data set or file as in `freshet evaluate prequential`."),
]
Split = Annotated[
    Literal["future", "leave-one-out"],
    typer.Option(help="future: judge on the newest tenth of all interactions; leave-one-out: on each user's last one."),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder for trained models, report, checkpoints; of `ranker` alone a .safetensors file.")
]
Repeats = Annotated[bool, typer.Option("--repeats", help="Rank what a user already had too, as for articles or groceries.")]
Start = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="VERSION|FILE", help="Begin with the weights of this version, or of MODEL.weights.npz of --out."
    ),
]
Importance = Annotated[
    bool,
    typer.Option("--importance", help="Also show what is lost when a group of features is shuffled (two_tower, wide_deep)."),
]
ModelSettings = Annotated[
    Path | None, typer.Option("--settings", help="JSON file of settings by model, as `freshet batch tune` writes it.")
]


batch_app.command()(tune)


@batch_app.callback()
def batch() -> None:
    """Learn models from the whole log.

    Example: `freshet batch train session_rnn ease --data lake:./lake --html models.html`
    """


@batch_app.command()
def train(
    models: Models = None,
    data: Data = "lake:lake",
    split: Split = "future",
    out: Out = None,
    html: Annotated[Path | None, typer.Option(help="Write the comparison as one page.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
    repeats: Repeats = False,
    loss: Loss = "lambdarank",
    start: Start = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the published models, for --from; FRESHET_MODELS otherwise.")] = None,
    settings_file: ModelSettings = None,
    importance: Importance = False,
    window: Minutes = 30,
    publish: Publish = False,
    limit: Limit = None,
    min_rating: Rating = None,
    json_output: Json = False,
) -> None:
    """Train models on older interactions, compare them on newer ones; each ranks all items.

    `ranker` and `blend_ranker`, which go alone, learn from slates: --data is then a folder with events.jsonl(.gz), or the lake.

    Example: `freshet batch train popularity ease session_rnn --data ml-latest-small --split leave-one-out`
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is loaded: its notes on the CPU are no news
    if models == ["ranker"]:
        return train_ranker(Path(data), loss, seed, out, json_output)
    if models == ["blend_ranker"]:
        return train_blend_ranker(data, loss, seed, window, root or settings_of().models, publish, json_output)
    from ops import terminal
    from ops.batch_page import checked_page_path, write_page
    from ops.batch_progress import training_bars
    from ops.batch_settings import read_chosen
    from ops.batch_source import read_log
    from ops.batch_train import Wanted, checked_names, train_all
    from ops.evaluate_source import Asked

    page, names = checked_page_path(html), checked_names(models or ())
    log = read_log(Asked(data, min_rating, limit), settings_of().data)
    chosen, models_folder = read_chosen(settings_file), root or settings_of().models
    wanted = Wanted(data, names, split, seed, not repeats, out, tensorboard, chosen, start, models_folder, importance)
    with training_bars() as bar:
        run = train_all(log, wanted, terminal.say, bar)
    if page is not None:
        write_page(run, page)
        terminal.say(f"page: {page}")
    return _show(run, json_output)


def _show(run: Run, json_output: bool) -> None:
    from batch.report import as_document
    from ops import terminal
    from ops.batch_table import print_run

    if json_output:
        terminal.print_json(as_document(run))
    else:
        print_run(run)
