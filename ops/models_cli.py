"""The commands `freshet models ...`: which model versions there are, and which one serves."""

# ruff: noqa: PLC0415 - imports inside the commands, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.command_settings import settings_of

if TYPE_CHECKING:
    from batch.registry.pointers import Note
    from feature_store.version_pointers import State

models_app = typer.Typer(
    no_args_is_help=True,
    help="Published model versions: list, look into, promote, roll back, verify.\n\nExample: `freshet models list`",
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model, as `freshet models list` shows it.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="Its name, or one of: serving, shadow, previous.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the models; FRESHET_HOME/models otherwise.")]
Reason = Annotated[str, typer.Option(help="Why; it is written down with your name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]


@models_app.command("list")
def list_models(root: Root = None, json_output: Json = False) -> None:
    """Show every version: what serves, until when it was trained, how good it was on later time.

    Example: `freshet models list`
    """
    from feature_store.version_listing import listing
    from ops import terminal
    from ops.models_view import listing_rows

    folder = _root(root)
    found = listing(folder)
    if json_output:
        terminal.print_json({"root": folder, "versions": found})
    elif found:
        columns = ("model", "version", "status", "trained until", "Recall@10", "MiB", "age")
        terminal.print_table(columns, listing_rows(found, _now_ms()))
    else:
        terminal.say(f"no model versions in {folder}")


@models_app.command()
def show(model: Model, version: Version, root: Root = None, json_output: Json = False) -> None:
    """Show all that is known of a version: training, metrics, what the gate said, when it was promoted.

    Example: `freshet models show two_tower serving`
    """
    from ops import terminal
    from ops.models_view import chosen_version, document, facts

    found = document(_root(root), model, chosen_version(_root(root), model, version))
    if json_output:
        terminal.print_json(found)
    else:
        terminal.print_facts(facts(found))


@models_app.command()
def promote(
    model: Model,
    version: Version,
    force: Annotated[bool, typer.Option("--force", help="Although the gate did not pass it; needs a --reason.")] = False,
    reason: Reason = "",
    root: Root = None,
    json_output: Json = False,
) -> None:
    """Let a version serve, if the gate passed it against what serves now.

    Example: `freshet models promote two_tower shadow --reason "better for a week"`
    """
    from batch.registry import pointers
    from ops.models_view import chosen_version
    from schemas.errors import InvalidInput

    if force and not reason.strip():
        raise InvalidInput("--force needs a --reason: whoever looks later wants to know why")
    name = chosen_version(_root(root), model, version)
    _tell(model, pointers.promote(_root(root), model, name, _note(reason or "promoted by hand"), force=force), json_output)


@models_app.command()
def rollback(
    model: Model,
    off: Annotated[bool, typer.Option("--off", help="Let no version serve, also where none served before.")] = False,
    reason: Reason = "",
    root: Root = None,
    json_output: Json = False,
) -> None:
    """Let the version serve that served before.

    Example: `freshet models rollback two_tower --reason "fewer clicks since noon"`
    """
    from batch.registry import pointers

    back = pointers.withdraw if off else pointers.rollback
    _tell(model, back(_root(root), model, _note(reason or "rolled back by hand")), json_output)


@models_app.command()
def prune(
    model: Model,
    keep: Annotated[int, typer.Option(min=1, help="So many of the newest stay, beside serving, shadow and previous.")],
    root: Root = None,
    json_output: Json = False,
) -> None:
    """Remove old versions.

    Example: `freshet models prune two_tower --keep 5`
    """
    from batch.registry import retention
    from ops import terminal

    removed = retention.prune(_root(root), model, keep)
    if json_output:
        terminal.print_json({"model": model, "removed": removed})
    else:
        terminal.say(f"{model}: removed {', '.join(removed) or 'nothing'}")


@models_app.command()
def verify(root: Root = None, json_output: Json = False) -> None:
    """Read every file of every version and compare the checksums; exit status 1 when something is damaged.

    Example: `freshet models verify`
    """
    from ops import terminal
    from ops.models_view import WHOLE, verification

    found = verification(_root(root))
    if json_output:
        terminal.print_json(found)
    elif found:
        terminal.print_table(("model", "version", "found"), [(one["model"], one["version"], one["found"]) for one in found])
    else:
        terminal.say(f"no model versions in {_root(root)}")
    if any(one["found"] != WHOLE for one in found):
        raise typer.Exit(1)


def _tell(model: str, state: State, json_output: bool) -> None:
    """Where the pointers are now."""
    from ops import terminal

    now = {"model": model, "serving": state.serving, "shadow": state.shadow, "previous": state.previous}
    (terminal.print_json if json_output else terminal.print_facts)(now)


def _note(reason: str) -> Note:
    from getpass import getuser

    from batch.registry.pointers import Note

    try:
        who = getuser()
    except (OSError, KeyError):  # a container whose user has no name
        who = f"user {os.getuid()}"
    return Note(_now_ms(), who, reason.strip())


def _now_ms() -> int:
    import time

    return time.time_ns() // 1_000_000


def _root(given: Path | None) -> Path:
    if given is not None:
        return given.expanduser().absolute()
    from ops.stack.state import Folder

    settings = settings_of()
    return settings.models or Folder.of(settings, "default").models
