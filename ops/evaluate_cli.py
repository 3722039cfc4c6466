"""The commands `freshet evaluate ...` and `freshet tune`: parse, read the settings, call one function each."""

# ruff: noqa: PLC0415 - imports inside the commands, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ops.command_settings import settings_of

evaluate_app = typer.Typer(
    no_args_is_help=True,
    help="Judge models on a stream of events.\n\nExample: `freshet evaluate prequential movietweetings --plot curves.png`",
)

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="movietweetings, ml-latest-small, synthetic[:events,users,items,seed], or a .csv, .tsv, .jsonl, .dat file (or .gz).",
    ),
]
Mode = Annotated[
    Literal["A", "B"], typer.Option(help="A: what a user had is neither asked nor recommended again; B: repeats are allowed.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many events.")]
Rating = Annotated[
    float | None,
    typer.Option("--min-rating", help="Leave out ratings below this; ml-latest-small: 4, elsewhere none are left out."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Of everything random; the settings' seed otherwise.")]
ModelSettings = Annotated[
    Path | None,
    typer.Option("--settings", help="JSON file of model settings, as `freshet tune` writes it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]
UserColumn = Annotated[str | None, typer.Option(help="Column (CSV) or field (JSON) with the user.")]
ItemColumn = Annotated[str | None, typer.Option(help="... with the item.")]
TimeColumn = Annotated[str | None, typer.Option(help="... with the time: epoch seconds or milliseconds, or RFC 3339.")]
ValueColumn = Annotated[str | None, typer.Option(help="... with the rating.")]
TypeColumn = Annotated[str | None, typer.Option(help="... with the type of event: view, click, like, rating, purchase, ...")]


def _columns(
    user_column: UserColumn = None,
    item_column: ItemColumn = None,
    time_column: TimeColumn = None,
    value_column: ValueColumn = None,
    type_column: TypeColumn = None,
) -> dict[str, str]:
    """The names that were given, by what is in the column."""
    given = {"user": user_column, "item": item_column, "time": time_column, "value": value_column, "type": type_column}
    return {what: name for what, name in given.items() if name is not None}


def _with_column_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `_columns` in place of its argument `columns`."""
    own, options = signature(command, eval_str=True), signature(_columns, eval_str=True).parameters

    @wraps(command)
    def parsed(**given: Any) -> None:
        named = {option: given.pop(option) for option in options}
        command(**given, columns=_columns(**named))

    kept = [parameter for parameter in own.parameters.values() if parameter.name != "columns"]
    parsed.__signature__ = own.replace(parameters=[*kept, *options.values()])  # type: ignore[attr-defined]
    return parsed


@evaluate_app.command()
@_with_column_options
def prequential(
    source: Source,
    mode: Mode = "A",
    models: Annotated[
        str | None, typer.Option(help="Only these, separated by commas; also river_biased_mf, river_baseline.")
    ] = None,
    limit: Limit = None,
    min_rating: Rating = None,
    seed: Seed = None,
    settings: ModelSettings = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=2, help="Rank in so many processes; the figures are the same. Two where there are two cores."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the learning curves: a .png, .svg or .pdf file.")] = None,
    json_output: Json = False,
    *,
    columns: Mapping[str, str],
) -> None:
    """Predict every event before learning it, with every model, and compare them; the first 20 % of the events do not count.

    Example: `freshet evaluate prequential movietweetings --plot curves.png`
    """
    from ops import terminal
    from ops.evaluate import as_document, evaluate
    from ops.evaluate_plot import checked_plot_path, plot_curves
    from ops.evaluate_replay import cores
    from ops.evaluate_source import Asked
    from ops.evaluate_table import print_evaluation
    from ops.model_settings import read_model_settings

    picture = checked_plot_path(plot)
    numbers = read_model_settings(settings, seed=seed, repeats=mode == "B")
    names = None if models is None else [name.strip() for name in models.split(",") if name.strip()]
    asked = Asked(source, min_rating, limit, columns)
    with terminal.progress_bar("events") as tick:
        done = evaluate(asked, _data(), mode, numbers, names, terminal.say, tick, processes or min(2, cores()))
    if picture is not None:
        plot_curves(done, picture)
        terminal.say(f"learning curves: {picture}")
    if json_output:
        terminal.print_json(as_document(done))
    else:
        print_evaluation(done)


@evaluate_app.command("diversity")
@_with_column_options
def diversity_command(
    source: Source,
    mode: Mode = "A",
    sample: Annotated[int, typer.Option("--questions", min=10, help="Questions after the warm-up that are answered.")] = 4000,
    limit: Limit = None,
    min_rating: Rating = None,
    seed: Seed = None,
    settings: ModelSettings = None,
    plot: Annotated[Path | None, typer.Option(help="Draw relevance against diversity: a .png, .svg or .pdf file.")] = None,
    json_output: Json = False,
    *,
    columns: Mapping[str, str],
) -> None:
    """Measure what `diversity` costs in relevance: lists of the blend, reranked as in a request, with the knob from 0 to 1.

    Example: `freshet evaluate diversity movietweetings --plot diversity.png`
    """
    from ops import terminal
    from ops.diversity_price import as_document, diversity_price
    from ops.diversity_show import plot_price, print_price
    from ops.evaluate_plot import checked_plot_path
    from ops.evaluate_source import Asked
    from ops.model_settings import read_model_settings

    picture = checked_plot_path(plot)
    numbers = read_model_settings(settings, seed=seed, repeats=mode == "B")
    with terminal.progress_bar("events") as tick:
        done = diversity_price(Asked(source, min_rating, limit, columns), _data(), mode, numbers, sample, terminal.say, tick)
    if picture is not None:
        plot_price(done, picture)
        terminal.say(f"curve: {picture}")
    if json_output:
        terminal.print_json(as_document(done))
    else:
        print_price(done)


@evaluate_app.command("merge")
@_with_column_options
def merge_command(
    source: Source,
    models: Annotated[
        str, typer.Option(help="Batch models that the blend takes candidates from, one or two.")
    ] = "item2vec,two_tower",
    begin: Annotated[float, typer.Option(help="Share of the events after which they are trained and everything is judged.")] = 0.5,
    retrains: Annotated[int, typer.Option(min=1, help="Trainings in the arm that trains again and again.")] = 10,
    mode: Mode = "A",
    limit: Limit = None,
    min_rating: Rating = None,
    seed: Seed = None,
    json_output: Json = False,
    *,
    columns: Mapping[str, str],
) -> None:
    """Compare the nearline blend alone with one that also asks batch models, trained once or again and again.

    Example: `freshet evaluate merge movietweetings --models item2vec,linear_recurrence`
    """
    from ops import terminal
    from ops.evaluate_source import Asked
    from ops.merge import Plan, as_document, merge
    from ops.merge_table import print_merged
    from ops.model_settings import read_model_settings

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    plan = Plan(Asked(source, min_rating, limit, columns), mode, names, begin, retrains)
    done = merge(plan, _data(), read_model_settings(None, seed=seed, repeats=mode == "B"), terminal.say)
    if json_output:
        terminal.print_json(as_document(done))
    else:
        print_merged(done)


@_with_column_options
def tune(
    source: Source,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try; the more, the better and the slower.")] = 24,
    out: Annotated[Path, typer.Option(help="Settings file to write.")] = Path("settings.json"),
    mode: Mode = "A",
    limit: Limit = None,
    min_rating: Rating = None,
    seed: Seed = None,
    json_output: Json = False,
    *,
    columns: Mapping[str, str],
) -> None:
    """Choose half-lives, learning rates and depths on the first 20 % of the events; the later ones are not looked at.

    Example: `freshet tune movietweetings --out films.json`, for `freshet evaluate prequential movietweetings --settings films.json`
    """
    from ops import terminal
    from ops.evaluate_source import Asked
    from ops.tune import as_document as as_tuning_document
    from ops.tune import checked_out_path, print_tuning, tune

    path = checked_out_path(out)
    asked = Asked(source, min_rating, limit, columns)
    with terminal.progress_bar("tune") as tick:
        done = tune(asked, _data(), mode, trials, 7 if seed is None else seed, path, terminal.say, tick)
    if json_output:
        terminal.print_json(as_tuning_document(done))
    else:
        print_tuning(done)


def _data() -> Path | None:
    """The folder of the public data sets."""
    return settings_of().data
