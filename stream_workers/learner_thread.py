"""The thread in which the models live."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class StageThread:
    """Does what it is handed, one after the other; after something failed, nothing more: what comes next was built upon it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "learner")
        self._failure: BaseException | None = None

    def submit(self, task: Callable[..., T], *arguments: Any) -> Future[T]:
        """Hand over a task; its future also fails with whatever failed before it."""
        return self._thread.submit(self._do, task, arguments)

    def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _do(self, task: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        if self._failure is not None:
            raise self._failure
        try:
            return task(*arguments)
        except BaseException as error:
            self._failure = error
            raise
