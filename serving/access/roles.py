"""What each call needs. The one table: a call that is not in it needs `admin`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

_PARAMETER: Final = re.compile(r"\{[^}]*\}")


class Role(StrEnum):
    """What a key is for. `admin` may do everything."""

    EVENTS_WRITE = "events:write"
    RECOMMEND_READ = "recommend:read"
    ADMIN = "admin"


_OPEN: Final = ("/healthz", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc")
_READ: Final = Role.RECOMMEND_READ

# Method and path to the role that it needs; None: no key at all. What a parameter is called does not matter.
NEEDS: Final[Mapping[str, Role | None]] = {
    **{f"GET {path}": None for path in _OPEN},
    "POST /v1/events": Role.EVENTS_WRITE,
    "GET /v1/users/{}/recommendations": _READ,
    "POST /v1/recommendations": _READ,
    "POST /v1/groups/recommendations": _READ,
    "POST /v1/rank": _READ,
    "GET /v1/items/{}": _READ,
    "GET /v1/items/{}/similar": _READ,
    "GET /v1/popular": _READ,
    "GET /v1/onboarding": _READ,
    "GET /v1/scoreboard": _READ,
    "GET /v1/models": _READ,
    "GET /v1/experiments": _READ,
    "GET /v1/experiments/{}": _READ,
    "GET /metrics": _READ,
    "GET /v1/users/{}": Role.ADMIN,
    "DELETE /v1/users/{}": Role.ADMIN,
    "GET /v1/requests/{}": Role.ADMIN,
    "GET /v1/requests/{}/why": Role.ADMIN,
    "POST /v1/surfaces/preview": Role.ADMIN,
}


def entry(method: str, path_format: str) -> str:
    """The name of a call in the table.

    >>> entry("HEAD", "/v1/users/{user_id}")
    'GET /v1/users/{}'
    """
    return f"{'GET' if method == 'HEAD' else method} {_PARAMETER.sub('{}', path_format)}"


def need_of(method: str, path_format: str) -> Role | None:
    """The role that a call needs; None: it is open to everybody.

    >>> need_of("GET", "/v1/popular"), need_of("GET", "/v1/not/in/the/table")
    (<Role.RECOMMEND_READ: 'recommend:read'>, <Role.ADMIN: 'admin'>)
    """
    return NEEDS.get(entry(method, path_format), Role.ADMIN)
