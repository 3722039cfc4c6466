"""A source of a product team in Python: a callable that is run in threads of its own, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from itertools import islice
from threading import Thread
from typing import Any, Final, cast

from schemas.errors import InvalidSettings, SourceFailed
from serving.candidates.answer import MAX_ANSWERED, Question

GROUP: Final = "freshet.sources"
"""The group of entry points whose names the surfaces file may use."""
AT_ONCE: Final = 8
"""Threads of one source; when so many hang, it is not called until one of them comes back."""
Answers = Callable[[Question], Iterable[Any]]


def loaded(reference: str) -> Answers:
    """The callable that a surfaces file names: `module:callable`, or an entry point.

    Raises:
        InvalidSettings: it cannot be imported, or is no plain function of one argument.
    """
    try:
        found = _imported(reference)
    except Exception as error:  # a module of others may raise anything; whatever it is, the file's line names the source
        raise InvalidSettings(f"cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found) or inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise InvalidSettings("must be a plain function: it is run in a thread")
    return cast(Answers, found)


class PythonSource:
    """Calls in daemon threads: one that never comes back keeps neither a request nor the end of the process."""

    def __init__(self, call: Answers) -> None:
        self._call = call
        self._under_way = 0

    async def fetch(self, question: Question) -> object:
        """What the callable returns, as a list.

        Raises:
            SourceFailed: busy, or raised.
        """
        if self._under_way >= AT_ONCE:
            raise SourceFailed("busy", f"{AT_ONCE} calls have not come back")
        self._under_way += 1
        loop = asyncio.get_running_loop()
        done: asyncio.Future[object] = loop.create_future()

        def run() -> None:
            answer: object
            try:
                answer = _listed(self._call(question))
            except BaseException as error:  # also SystemExit: the place must become free again
                answer = SourceFailed("raised", f"{type(error).__name__}: {error}")
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._came_back, done, answer)

        Thread(target=run, name="own-source", daemon=True).start()
        return await done

    async def close(self) -> None:
        """Nothing to close."""

    def _came_back(self, done: asyncio.Future[object], answer: object) -> None:
        self._under_way -= 1
        if done.done():
            return
        if isinstance(answer, SourceFailed):
            done.set_exception(answer)
        else:
            done.set_result(answer)


def _listed(answer: object) -> object:
    """Any iterable as a list, but texts and mappings, which are no answers; what has no end is cut behind what would be refused."""
    if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Iterable):
        return answer
    return list(islice(answer, MAX_ANSWERED + 1))


def _imported(reference: str) -> object:
    module, _, name = reference.partition(":")
    if name:
        return getattr(import_module(module), name)
    (found,) = entry_points(group=GROUP, name=reference)
    return found.load()
