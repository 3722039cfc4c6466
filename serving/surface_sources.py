"""Where the candidates of a surface come from, and a product team's own sources: their part of the surfaces file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from serving.surface_parts import Part, Weight
from stream_workers.models.online.sources import FIRST_BATCH, SOURCES

ONLINE: Final = SOURCES[:FIRST_BATCH]
"""Sources inside the online blend, by the names of `sources` in an answer."""
MOST_ITEMS: Final = 500
MAX_TIMEOUT_MS: Final = 1000
_CALLABLE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*|[A-Za-z_][\w.-]*")


def _online(name: str) -> str:
    if name not in ONLINE:
        raise ValueError(f"must be one of {', '.join(ONLINE)}")
    return name


def _url(text: str) -> str:
    try:
        address = urlsplit(text)
        port_is_one = address.port is None or address.port > 0
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from error
    if address.scheme not in ("http", "https") or not address.hostname or not port_is_one or not text.isascii() or " " in text:
        raise ValueError("must be http://host[:port]/path or https://...")
    if address.username is not None or address.password is not None or address.fragment:
        raise ValueError("must have no user, password or fragment; tokens come from FRESHET_SOURCE_TOKENS")
    return text


def _callable(text: str) -> str:
    if _CALLABLE.fullmatch(text) is None:
        raise ValueError("must be module:callable, or the name of an entry point of freshet.sources")
    return text


def _published(name: str) -> str:
    if name in ONLINE:
        raise ValueError("is a source of the online blend itself: under online")
    return name


OwnName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"), AfterValidator(_published)]


class OwnSource(Part):
    """A source of a product team, asked by HTTP or called.

    Attributes:
        url: asked by POST; its host must be one of FRESHET_SOURCE_HOSTS. python: `module:callable`, or the name of an entry point
            of `freshet.sources`. One of the two.
        timeout_ms: what a request waits for it at most.
        weight: in the fusion of ranks. max_items: so many of its best are taken.
    """

    url: Annotated[str, Field(max_length=2000), AfterValidator(_url)] | None = None
    python: Annotated[str, Field(max_length=200), AfterValidator(_callable)] | None = None
    timeout_ms: int = Field(default=50, ge=1, le=MAX_TIMEOUT_MS)
    weight: Weight = 1.0
    max_items: int = Field(default=100, ge=1, le=MOST_ITEMS)

    @model_validator(mode="after")
    def _one_of_two(self) -> OwnSource:
        if (self.url is None) == (self.python is None):
            raise ValueError("needs a url or python, and not both")
        return self

    @property
    def seconds(self) -> float:
        """The time budget."""
        return self.timeout_ms / 1000

    @property
    def address(self) -> tuple[str, int]:
        """Host in small letters, and port, of a source with a url."""
        parts = urlsplit(self.url or "")
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class Sources(Part):
    """Where candidates come from.

    Attributes:
        blend, newcomers: on or off. covisitation, affinity, content, trending, catalogue: sources of the fixed blend, times their
            built-in weight; 0 or false: off. context: what is popular where somebody is, likewise.
        online, published: sources inside the online blend, on or off, by name. One that is off proposes nothing. What it says of
            items that others propose stays one of the blend's features, and the blend has learnt how much each counts: no weights.
        own: sources of a product team that this surface asks, times their weight.
    """

    blend: bool = True
    newcomers: bool = True
    covisitation: Weight = 1.0
    affinity: Weight = 1.0
    content: Weight = 1.0
    trending: Weight = 1.0
    catalogue: Weight = 1.0
    context: Weight = 1.0
    online: Mapping[Annotated[str, AfterValidator(_online)], bool] = Field(default_factory=dict)
    published: Mapping[ModelName, bool] = Field(default_factory=dict)
    own: Mapping[OwnName, Weight] = Field(default_factory=dict, max_length=10)

    @property
    def silent(self) -> frozenset[str]:
        """Sources inside the online blend that propose nothing."""
        return frozenset(name for name, on in (*self.online.items(), *self.published.items()) if not on)
