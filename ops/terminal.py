"""What a person sees: lines and a progress bar on stderr, tables and JSON on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_WIDE = 150


def say(line: str) -> None:
    """One line for a person, on stderr, as it is (no markup; never broken to the width of the terminal)."""
    print(line, file=sys.stderr, flush=True)


def print_json(document: object) -> None:
    """The one JSON document of a `--json` command, on stdout; a path becomes its text."""
    print(json.dumps(document, indent=2, default=str))


def output() -> Console:
    """Where tables go; in a file or a pipe lines are not broken at the 80 columns of a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, _WIDE))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout; numbers are aligned to the right, None is shown as a dash."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for at, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    output().print(table)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Names and values, one a line, on stdout."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {'-' if value is None or value == '' else value}")


class _Rate(ProgressColumn):
    """Events per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} events/s")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; the function it gives is told (done, total). Shows nothing where stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
