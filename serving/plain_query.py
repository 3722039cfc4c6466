"""What a GET asks for, read without FastAPI's way through the parameters, which costs more than the rest of the HTTP layer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.types import Scope

from serving.query import RecommendationQuery
from serving.services import Services

_PARAMETERS: Final = frozenset({"k", "session_id", "surface", "filter", "diversity", "explore", "explain"})

Answer = Callable[[Services, RecommendationQuery], Awaitable[Response]]


def plain_query(scope: Scope) -> RecommendationQuery | None:
    """The query of a request that says it in the usual way; None: FastAPI has to look at it, and to tell what is wrong.

    The checks are the same: those of the parameters are those of the query's fields.

    >>> scope = {"query_string": b"k=5&surface=home", "path_params": {"user_id": "ann"}}
    >>> plain_query(scope) == RecommendationQuery(user_id="ann", k=5, surface="home")
    True
    >>> plain_query(scope | {"query_string": b"k=5&k=6"}), plain_query(scope | {"query_string": b"k=many"})
    (None, None)
    """
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    given: dict[str, Any] = dict(pairs)
    if len(given) < len(pairs) or not given.keys() <= _PARAMETERS or "" in given.values():
        return None
    try:
        return RecommendationQuery.model_validate({"user_id": scope["path_params"]["user_id"], **given})
    except ValidationError:
        return None


def quick_route(answer: Answer) -> type[APIRoute]:
    """A route that answers plain queries by itself and leaves all others to its endpoint."""

    class QuickRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            thorough = super().get_route_handler()

            async def handler(request: Request) -> Response:
                query = plain_query(request.scope)
                return await (thorough(request) if query is None else answer(request.app.state.services, query))

            return handler

    return QuickRoute
