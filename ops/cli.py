"""The `freshet` command line. Each command parses, builds the settings and calls one function, imported only then."""

# ruff: noqa: PLC0415 - imports inside the commands: `freshet --help` must not load Kafka, NumPy and the web server.

from __future__ import annotations

import os
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ops.batch_cli import batch_app
from ops.batch_run_cli import run
from ops.command_settings import resolved, settings_of, with_kafka
from ops.config_cli import config_app
from ops.evaluate_cli import evaluate_app, tune
from ops.lake_cli import lake_app
from ops.models_cli import models_app
from ops.slates_cli import slates
from schemas.errors import FreshetError, InvalidInput

INTERRUPTED = 130


class FreshetCommands(TyperGroup):
    """Turns what Freshet raises on purpose into one line on stderr and an exit status: 2 for bad input, else 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except FreshetError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            typer.echo(f"freshet: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, InvalidInput) else 1) from error
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(INTERRUPTED) from interrupt


app = typer.Typer(
    cls=FreshetCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Option(help="Name of the local stack; several can stand side by side.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]


@app.callback()
def freshet(
    debug: Annotated[bool, typer.Option("--debug", envvar="FRESHET_DEBUG", help="Show the traceback of an error.")] = False,
) -> None:
    """A streaming nearline recommender: what a person clicked a moment ago changes what they are shown next.

    Settings come from FRESHET_... variables, e.g. FRESHET_KAFKA and FRESHET_REDIS; without them the local stack is used.
    """


@app.command()
def up(
    name: Name = "default",
    workers: Annotated[int, typer.Option(min=0, help="Number of stream workers.")] = 1,
    only: Annotated[
        str | None, typer.Option(help="Only these parts, out of kafka, redis, worker, api; separated by commas.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Start a local stack (Kafka, Redis, workers, API) and return when it is ready.

    Example: `freshet up --workers 2`
    """
    from ops import stack, terminal

    parts = None if only is None else frozenset(part.strip() for part in only.split(",") if part.strip())
    started = stack.up(settings_of(), name, workers, parts, terminal.say)
    facts = {field: getattr(started, field) for field in ("name", "kafka", "redis", "api", "mode", "folder")}
    (terminal.print_json if json_output else terminal.print_facts)(facts)


@app.command()
def down(
    name: Name = "default",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data of Kafka and Redis for the next `up`.")] = False,
) -> None:
    """Stop a local stack and remove its data.

    Example: `freshet down --keep`
    """
    from ops import stack, terminal

    stack.down(settings_of(), name, keep, terminal.say)


@app.command()
def status(name: Name = "default", json_output: Json = False) -> None:
    """Show where Kafka, Redis and the API are, and how far behind each worker is.

    Example: `freshet status --json`
    """
    from ops import stack, terminal

    found = stack.status(settings_of(), name)
    if json_output:
        terminal.print_json(found)
        return
    terminal.print_facts({field: value for field, value in found.items() if field != "workers"})
    if found["workers"]:
        rows = [(worker["pid"], worker["lag"], (worker.get("learner") or {}).get("events")) for worker in found["workers"]]
        terminal.print_table(("worker (pid)", "lag (events)", "learner (events learnt)"), rows)


@app.command()
def worker(name: Name = "default") -> None:
    """Run one stream worker in the foreground, until Ctrl-C.

    Example: `freshet worker`
    """
    _one_blas_thread()
    from ops.model_settings import read_model_settings
    from stream_workers import app as stream

    settings = resolved(name)
    stream.run(settings, read_model_settings(settings.model_settings, repeats=settings.scoreboard_repeats or None))


@app.command()
def api(
    name: Name = "default",
    host: Annotated[str | None, typer.Option(help="Address to bind to; FRESHET_API_HOST otherwise.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any free one; FRESHET_API_PORT otherwise.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="Processes that share the socket and the models; FRESHET_API_PROCESSES otherwise.")
    ] = None,
) -> None:
    """Run the HTTP API in the foreground, until Ctrl-C.

    Example: `freshet api --port 8080 --processes 2`
    """
    _one_blas_thread()
    from ops.model_settings import read_model_settings
    from serving import app as serving

    settings = resolved(name, api_host=host, api_port=port, api_processes=processes)
    numbers = read_model_settings(settings.model_settings, repeats=settings.scoreboard_repeats or None)
    if settings.api_processes == 1:
        serving.run(settings, numbers)
        return
    from serving.processes import run_processes
    from stream_workers.compiling import models_compiled

    run_processes(settings, numbers, models_compiled())


def _one_blas_thread() -> None:
    """Before NumPy is loaded: workers and APIs share their cores with others, and threads of BLAS that wait for one another cost
    more than they save.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@app.command()
def topics(name: Name = "default", json_output: Json = False) -> None:
    """Create the Kafka topics that are missing and check the ones that exist.

    Example: `FRESHET_KAFKA=broker:9092 FRESHET_PARTITIONS=8 freshet topics`
    """
    from ops import terminal
    from ops.topics import create_topics, retention_text

    report = create_topics(with_kafka(name), terminal.say)
    if json_output:
        terminal.print_json(report)
        return
    rows = [
        (topic["name"], topic["key"], topic["partitions"], retention_text(topic["retention_ms"]), topic["cleanup"])
        for topic in report["topics"]
    ]
    terminal.print_table(("topic", "key", "partitions", "retention", "cleanup"), rows)


@app.command()
def replay(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="movietweetings, ml-latest-small, ranklens, synthetic[:events,users,items,seed], or a file."
        ),
    ],
    speed: Annotated[str, typer.Option(help="real: as it happened; 60: sixty times faster; max: as fast as it goes.")] = "max",
    limit: Annotated[int | None, typer.Option(min=0, help="Send at most this many events.")] = None,
    start: Annotated[int, typer.Option("--from", min=0, help="Begin with this event, counted from 0.")] = 0,
    skip_items: Annotated[bool, typer.Option("--skip-items", help="Leave out the catalogue.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Shift all times so that the last event happens now.")] = False,
    name: Name = "default",
    json_output: Json = False,
) -> None:
    """Play a data set, a file of your own or a synthetic stream into Kafka: the catalogue, then the events in time order.

    Files: .csv or .tsv with user, item and timestamp columns; .jsonl with events or items; .dat; each also as .gz.
    Events have stable ids, so that sending them twice counts them once.

    Example: `freshet replay movietweetings --speed 100000 --limit 20000 --now`
    """
    from ops import terminal
    from ops.datasets import open_source
    from ops.replay import parse_speed
    from ops.replay import replay as send

    settings = with_kafka(name)
    times, opened = parse_speed(speed), open_source(source, settings.data)
    with terminal.progress_bar("replay") as tick:
        report = send(settings, opened, times, limit, skip_items, now, terminal.say, start, tick)
    facts = {**report._asdict(), "events_per_second": round(report.events / max(report.seconds, 1e-9))}
    if json_output:
        terminal.print_json(facts)
    else:
        terminal.print_facts({**facts, "seconds": f"{report.seconds:.2f}"})


@app.command()
def verify(name: Name = "default", json_output: Json = False) -> None:
    """Replay the log beside the live state and print the differences; exit status 1 when there are any.

    Example: `freshet verify --json`
    """
    from ops.verify import verify_command

    if verify_command(resolved(name), json_output=json_output):
        raise typer.Exit(1)


app.add_typer(evaluate_app, name="evaluate")
app.add_typer(lake_app, name="lake")
app.add_typer(batch_app, name="batch")
app.add_typer(models_app, name="models")
app.add_typer(config_app, name="config")
batch_app.command()(run)
evaluate_app.command()(slates)
app.command()(tune)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Show it once and stop, instead of going on until Ctrl-C.")] = False,
    source: Annotated[str | None, typer.Option(help="Events to show, as in `freshet replay`.")] = None,
) -> None:
    """Start a stack, stream events through it and show how recommendations follow.

    Example: `freshet demo --once`
    """
    from ops import demo as demonstration

    demonstration.run(settings_of(), once=once, source=source)


def main() -> None:
    """The console script."""
    app(prog_name="freshet")


if __name__ == "__main__":
    main()
