"""The commands `freshet config ...`: what a surfaces file does, or what is wrong with it."""

# ruff: noqa: PLC0415 - imports inside the commands, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")
    ] = False,
) -> None:
    """Print what each surface of a file does; or its faults with their lines, and exit status 2.

    Example: `freshet config check surfaces.yaml`
    """
    from ops import terminal
    from serving.surface_file import InvalidSurfaces, read_surfaces
    from serving.surface_summary import custom_attributes, summary

    try:
        found = read_surfaces(file)
    except InvalidSurfaces as error:
        if json_output:
            terminal.print_json({"file": file, "faults": [fault._asdict() for fault in error.faults], "surfaces": None})
        for fault in error.faults:
            terminal.say(f"{file}: {fault}")
        raise typer.Exit(2) from error
    told = {name: {"does": summary(one), "attributes": custom_attributes(one)} for name, one in found.surfaces.items()}
    if json_output:
        terminal.print_json({"file": file, "faults": [], "surfaces": told})
        return
    for name, one in told.items():
        typer.echo("\n  ".join([name, *one["does"]]))
        if one["attributes"]:
            typer.echo(f"  items need in their attributes: {', '.join(one['attributes'])}")
