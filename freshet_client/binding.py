"""Functions that make a call become methods that make it and send it. One definition of each serves both clients, fully typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from freshet_client.calls import Call
from freshet_client.decoding import Answer

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=Answer)


class _Sends(Protocol):
    def send(self, call: Call[Any]) -> Any: ...


class Method(Generic[P, R]):
    """A method with the arguments of `build`, which sends what `build` makes of them.

    Args:
        build: makes the call; its docstring is the method's.
    """

    def __init__(self, build: Callable[P, Call[Any]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Call[Any]]: ...
    @overload
    def __get__(self, client: _Sends, owner: type) -> Callable[P, R]: ...
    def __get__(self, client: _Sends | None, owner: type) -> Callable[P, Any]:
        """The function itself for the class, so that `help` finds it; bound to a client for an instance."""
        build = self._build
        if client is None:
            return build

        @wraps(build)
        def sent(*args: P.args, **kwargs: P.kwargs) -> R:
            answer: R = client.send(build(*args, **kwargs))
            return answer

        return sent


def blocking(build: Callable[P, Call[A]]) -> Method[P, A]:
    """A method that returns the answer."""
    return Method(build)


def awaiting(build: Callable[P, Call[A]]) -> Method[P, Awaitable[A]]:
    """A method whose answer is awaited."""
    return Method(build)
