"""Where a browser says that a request comes from: the one thing that a page of somebody else cannot make up.

An API that asks for no keys is protected by where it listens. A browser on that machine reaches it too, and sends what any page
tells it to: a form needs permission to be read, not to be sent. So what changes something may not come from such a page.
(With keys nothing is to be feared: a page cannot add `Authorization` without permission, and a browser adds none by itself.)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.types import Scope

_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OUR_OWN: Final = frozenset({b"same-origin", b"none"})  # `none`: the person typed it, or an extension asks


def from_a_strange_page(scope: Scope, origins: Collection[str]) -> bool:
    """Whether a page of another origin has the browser send this, and it could change something.

    Goes by `Sec-Fetch-Site` (W3C Fetch Metadata), and for old browsers by whether `Origin` is the host that is asked. Programs send
    neither.

    Args:
        origins: those that may.
    """
    if scope["method"] in _HARMLESS:
        return False
    told = dict(scope["headers"])
    origin, site = told.get(b"origin"), told.get(b"sec-fetch-site")
    if origin is not None and origin.decode("latin-1").lower() in origins:
        return False
    if site is not None:
        return site not in _OUR_OWN
    return origin is not None and origin.partition(b"://")[2] != told.get(b"host")
