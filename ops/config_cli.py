"""The commands `freshet config ...`: what a surfaces file does, or what is wrong with it."""

# ruff: noqa: PLC0415 - imports inside the commands, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from serving.candidates.answer import OwnAnswer
    from serving.surfaces import Surfaces

config_app = typer.Typer(
    no_args_is_help=True,
    help="Surfaces files (FRESHET_SURFACES): check one before it is put in force.\n\nExample: `freshet config check surfaces.yaml`",
)


@config_app.callback()
def config() -> None:
    """Surfaces files."""


@config_app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The surfaces file, YAML (docs/serving.md).")],
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask each own source, three times at most, and say which does not answer: exit status 1.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")
    ] = False,
) -> None:
    """Print what each surface of a file does; or its faults with their lines, and exit status 2.

    Modules that the file names are imported; FRESHET_SOURCE_HOSTS and FRESHET_SOURCE_TOKENS count as for the API.

    Example: `freshet config check surfaces.yaml --ask`
    """
    from ops import terminal
    from ops.source_check import answers_of, own_sources
    from serving.surface_file import InvalidSurfaces, read_surfaces

    own = own_sources()
    try:
        found = read_surfaces(file, own.faults)
    except InvalidSurfaces as error:
        if json_output:
            terminal.print_json({"file": file, "faults": [fault._asdict() for fault in error.faults], "surfaces": None})
        for fault in error.faults:
            terminal.say(f"{file}: {fault}")
        raise typer.Exit(2) from error
    answers = answers_of(own, found) if ask else {}
    if json_output:
        terminal.print_json(_document(file, found, answers))
    else:
        _print(found, answers)
    if any(answer.failure for answer in answers.values()):
        raise typer.Exit(1)


def _document(file: Path, found: Surfaces, answers: Mapping[str, OwnAnswer]) -> dict[str, Any]:
    from serving.surface_summary import custom_attributes, summary, told

    sources = {
        name: {"does": told(name, one), "answer": answers[name]._asdict() if name in answers else None}
        for name, one in found.sources.items()
    }
    surfaces = {name: {"does": summary(one), "attributes": custom_attributes(one)} for name, one in found.surfaces.items()}
    return {"file": file, "faults": [], "surfaces": surfaces, "sources": sources}


def _print(found: Surfaces, answers: Mapping[str, OwnAnswer]) -> None:
    from ops.source_check import heard
    from serving.surface_summary import custom_attributes, summary, told

    for name, source in found.sources.items():
        typer.echo("\n  ".join([told(name, source), *([heard(answers[name])] if name in answers else [])]))
    for name, surface in found.surfaces.items():
        typer.echo("\n  ".join([name, *summary(surface)]))
        if attributes := custom_attributes(surface):
            typer.echo(f"  items need in their attributes: {', '.join(attributes)}")
