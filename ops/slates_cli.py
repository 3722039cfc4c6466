"""The commands `freshet evaluate slates` and `freshet batch train ranker`: parse, call one function each."""

# ruff: noqa: PLC0415 - imports inside the commands, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Events = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with events.jsonl(.gz), or such a file.")]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder with events.jsonl(.gz), or such a file.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
Loss = Annotated[str, typer.Option(help="Of the rankers: pointwise, bpr, ranknet, softmax or lambdarank.")]
Minutes = Annotated[float, typer.Option(min=0, help="Of `blend_ranker`: how long after an impression a click counts for it.")]
Publish = Annotated[bool, typer.Option("--publish", help="Of `blend_ranker`: write a version; it serves if the gate lets it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]


def slates(
    path: Events,
    seed: Seed = 7,
    features: Annotated[bool, typer.Option("--features", help="Also say which features matter (a minute or two more).")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw which features matter: a .png, .svg or .pdf file.")] = None,
    json_output: Json = False,
) -> None:
    """Compare rankers on slates that were shown and clicked: learnt on the earlier ones, judged on the last 20 % by time.

    Example: `freshet evaluate slates data/ranklens --plot features.png`
    """
    from ops import terminal
    from ops.evaluate_plot import checked_plot_path
    from ops.slates import as_document, evaluate_slates
    from ops.slates_show import plot_selection, print_slates

    picture = checked_plot_path(plot)
    done = evaluate_slates(path.expanduser(), seed, terminal.say, features=features or picture is not None)
    if picture is not None and done.selection is not None:
        plot_selection(done.selection, picture)
    if json_output:
        terminal.print_json(as_document(done))
    else:
        print_slates(done)


def train_ranker(
    data: Data,
    loss: Loss = "lambdarank",
    seed: Seed = 7,
    out: Annotated[Path | None, typer.Option(help="Write the network as it serves: a .safetensors file.")] = None,
    json_output: Json = False,
) -> None:
    """Train the ranking network on slates; its NumPy twin is judged on the last 20 % of them by time.

    Example: `freshet batch train ranker --data data/ranklens --loss ranknet --out ranker.safetensors`
    """
    from ops import slates as work
    from ops import terminal

    path = work.checked_out(out)
    done = work.train_ranker(data.expanduser(), loss, seed, terminal.say)
    if path is not None:
        work.write_ranker(done, path)
    facts = {
        "loss": loss,
        "seed": seed,
        "epochs": done.length,
        "validation_ndcg@10": done.validation,
        "ndcg@10": done.test,
        "features": len(done.features),
        "patience_ms": done.patience,
        "out": path,
    }
    (terminal.print_json if json_output else terminal.print_facts)(facts)


def train_blend_ranker(
    data: str, loss: Loss, seed: Seed, minutes: Minutes, root: Path | None, publish: Publish, json_output: Json
) -> None:
    """Train the ranker behind the blend on logged impressions, beside the blend's own order and LambdaMART."""
    from ops import blend_ranker, terminal

    place = blend_ranker.checked_lake(data)
    folder = blend_ranker.checked_root(root) if publish else None
    done = blend_ranker.train(place, loss, seed, round(60_000 * minutes), folder, terminal.say)
    if json_output:
        terminal.print_json(blend_ranker.as_document(done))
    else:
        blend_ranker.print_done(done)
