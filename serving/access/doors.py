"""Which route a request is for, found with the routes' own patterns before anything of the request is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from serving.access.roles import Role, need_of


class Door(NamedTuple):
    """One route: the paths and methods that it takes; `methods` None: any."""

    pattern: re.Pattern[str]
    methods: frozenset[str] | None
    route: BaseRoute
    path_format: str


class Found(NamedTuple):
    """What a request is for. `route` None: nothing; then `allowed` are the methods that its path takes.

    `need` is the role that it asks for; None: no key.
    """

    route: BaseRoute | None
    need: Role | None = Role.ADMIN
    allowed: frozenset[str] = frozenset()


class Doors:
    """All routes of an app, in the order in which its router tries them.

    A route that has no pattern is left out: with keys it cannot be reached, which is better than unguarded.

    Args:
        routes: `app.routes`; routers that were included count with what is in them.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self.doors = [
            Door(context.path_regex, frozenset(context.methods) if context.methods else None, context.original_route, path)
            for context in iter_route_contexts(routes)
            if (path := context.path_format) is not None
        ]

    def find(self, method: str, path: str) -> Found:
        """The first route that takes both, as the router would choose."""
        allowed: set[str] = set()
        for door in self.doors:
            if door.pattern.match(path) is None:
                continue
            if door.methods is None or method in door.methods:
                return Found(door.route, need_of(method, door.path_format))
            allowed |= door.methods
        return Found(None, allowed=frozenset(allowed))
