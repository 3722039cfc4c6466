"""Keys, roles and limits in the app's OpenAPI document, from the same table that the gate goes by."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from serving.access.roles import Role, need_of
from serving.overload import NEVER_REFUSED

SCHEME: Final = "key"
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_ASKED_FOR: Final = "A key of FRESHET_API_KEYS. Where none are set, calls need no key."
_CHALLENGE: Final = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750"}}
_OVERLOAD: Final = "more is asked than can be answered now"
_LATER: Final = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
_RETRY: Final = {
    **_LATER,
    **{
        f"RateLimit-{name}": {"schema": {"type": "integer"}, "description": about}
        for name, about in (("Limit", "calls at once"), ("Remaining", "calls left now"), ("Reset", "seconds until all are back"))
    },
}


def document(app: FastAPI, keyed: bool) -> None:
    """Make `/openapi.json` say which role each call needs, and how a call is refused.

    Args:
        keyed: keys are asked for here; else the document says that they may be left out.
    """
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        if SCHEME not in schema.setdefault("components", {}).setdefault("securitySchemes", {}):
            _describe(schema, keyed)
        return schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document


def _describe(schema: dict[str, Any], keyed: bool) -> None:
    schema["components"]["securitySchemes"][SCHEME] = {"type": "http", "scheme": "bearer", "description": _ASKED_FOR}
    problem = {"application/problem+json": {"schema": _problem_schema(schema)}}
    for path, operation, need in _guarded(schema):
        operation["security"] = [{SCHEME: [str(need)]}, *([] if keyed else [{}])]
        for status, about, headers in (
            (HTTPStatus.UNAUTHORIZED, "Keys are asked for, and this is none that is known", _CHALLENGE),
            (HTTPStatus.FORBIDDEN, f"The key lacks the role {need}", _CHALLENGE),
            (HTTPStatus.TOO_MANY_REQUESTS, "There is a limit, and it is reached", _RETRY),
        ):
            operation["responses"][str(int(status))] = {"description": about, "headers": headers, "content": problem}
        if path not in NEVER_REFUSED:
            other = operation["responses"].get("503", {"content": problem})
            about = "; or ".join(filter(None, (other.get("description"), _OVERLOAD)))
            operation["responses"]["503"] = {"content": problem} | other | {"description": about, "headers": _LATER}


def _problem_schema(schema: dict[str, Any]) -> dict[str, Any]:
    schema["components"].setdefault("schemas", {})["Problem"] = {
        "type": "object",
        "description": "RFC 9457",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    }
    return {"$ref": "#/components/schemas/Problem"}


def _guarded(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Role]]:
    """Every operation that needs a role, with its path and it."""
    for path, item in schema["paths"].items():
        for method in _METHODS & item.keys():
            need = need_of(method.upper(), path)
            if need is not None:
                yield path, item[method], need
