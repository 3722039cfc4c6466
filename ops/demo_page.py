"""What the demo prints: in colour and with bars in a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Final

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

_PLAIN_WIDTH: Final = 110
_WIDEST: Final = 130


class Page:
    """Everything on stdout, flushed line by line, so that a log has it in order."""

    def __init__(self) -> None:
        with suppress(AttributeError):
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # a stdout of tests has no such method
        console = Console(highlight=False)
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console = Console(highlight=False, width=_PLAIN_WIDTH)
        elif console.width > _WIDEST:
            console = Console(highlight=False, width=_WIDEST)
        self._console = console

    @property
    def width(self) -> int:
        """Columns of text."""
        return self._console.width

    def say(self, line: str, style: str = "") -> None:
        """One line as it is: no markup, not broken. A terminal that is gone must not keep servers from being stopped."""
        with suppress(OSError):
            self._console.print(Text(line, style=style), soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """Anything that rich can draw, fitted to the width of the terminal."""
        with suppress(OSError):
            self._console.print(what)

    def heading(self, title: str) -> None:
        """The title of the next part."""
        self.say("")
        self.say(title, "bold cyan")

    def busy(self, what: str) -> AbstractContextManager[object]:
        """A sign of life while something takes its time; one line where nobody watches."""
        if self._console.is_terminal:
            return self._console.status(Text(f"{what} ...", style="dim"))
        self.say(f"{what} ...")
        return nullcontext()

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar, gone when the block ends; the function it gives is told (done, total)."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
