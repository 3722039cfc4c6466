"""What each surface (a home page, a cart, a newsletter) does differently: the validated form of the surfaces file.

Everything left out is as it is without a file. The attributes' descriptions are what `freshet config check` and the docs go by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.ids import Id
from serving.filters.compiled import compiled
from serving.filters.errors import InvalidFilter
from serving.filters.parser import parse_attribute
from serving.filters.tokens import MAX_LENGTH
from serving.surface_parts import Keys, Name, Part
from serving.surface_sources import ONLINE, OwnName, OwnSource, Sources

DEFAULT: Final = "default"
_UNITS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"([0-9]{1,6})([mhd])")


def _filter(text: str) -> str:
    try:
        compiled(text)
    except InvalidFilter as error:
        raise PydanticCustomError("invalid_filter", "{reason}", {"reason": str(error)}) from error
    return text


def _attribute(text: str) -> str:
    try:
        parse_attribute(text)
    except InvalidFilter as error:
        raise PydanticCustomError("invalid_filter", "{reason}", {"reason": str(error)}) from error
    return text


def _milliseconds(value: object) -> object:
    if value == "forever":
        return None
    if value == "never":
        return 0
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be forever, never, or a time like 30m, 12h or 7d")
    return int(found[1]) * _UNITS[found[2]]


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Filter = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH), AfterValidator(_filter)]
Period = Annotated[int | None, BeforeValidator(_milliseconds)]


class Constraint(Part):
    """A wish that gives way where too few items meet it. name: what the answer calls it."""

    name: Name
    filter: Filter


class Exclude(Part):
    """For how long what the person did with an item keeps it away, since the last such event; `forever`, `never`, or 30m, 12h, 7d.

    seen: anything; bought: a purchase; hidden: a hide or dislike.
    """

    seen: Period = None
    bought: Period = None
    hidden: Period = None


class Boost(Part):
    """What the score of the items that the filter holds for is multiplied by, for the order."""

    when: Filter
    factor: float = Field(gt=0, le=100)


class Pin(Part):
    """An item with a fixed place, from 1, as long as it is available, not hidden by the person and not filtered out."""

    item: Id
    position: int = Field(ge=1, le=200)


class Diversity(Part):
    """How unlike the items of a list are. default: for requests that do not say; 0: as scored."""

    method: Literal["mmr", "dpp"] = "dpp"
    default: Share = 0.0


class CategoryCaps(Part):
    """At most how many items of a category, as long as there are others. each: of every category; categories: of those named."""

    each: int | None = Field(default=None, ge=0, le=200)
    categories: Mapping[str, Annotated[int, Field(ge=0, le=200)]] = Field(default_factory=dict)


class ExposureTargets(Part):
    """Shares of exposure in each list. by: `categories` (an item's first) or an attribute; targets: group to share; none: equal."""

    by: Annotated[str, AfterValidator(_attribute)]
    weight: Share
    targets: Mapping[str, Annotated[float, Field(ge=0)]] | None = None


class Exploration(Part):
    """Chance in the list, with logged propensities.

    Attributes:
        method: epsilon: each place is any of the pool with probability `amount`. softmax: places are drawn by rank, softmax of
            -log(rank) / `amount`. thompson: a share `amount` of the places goes to items with few impressions, by Thompson draws.
        pool: how many of the best items may come.
        few: an item with so many impressions or more is no longer one with few.
    """

    method: Literal["epsilon", "softmax", "thompson"] = "epsilon"
    amount: Share = 0.1
    pool: int = Field(default=50, ge=1, le=200)
    few: int = Field(default=50, ge=1, le=300)


class Surface(Part):
    """One surface."""

    sources: Sources = Sources()
    filter: Filter | None = None
    constraints: tuple[Constraint, ...] = Field(default=(), max_length=20)
    exclude: Exclude = Exclude()
    boosts: tuple[Boost, ...] = Field(default=(), max_length=50)
    pins: tuple[Pin, ...] = Field(default=(), max_length=50)
    diversity: Diversity = Diversity()
    caps: CategoryCaps = CategoryCaps()
    calibration: Share = 0.0
    exposure: ExposureTargets | None = None
    popularity_damping: Share = 0.0
    novelty: Share = 0.0
    serendipity: Share = 0.0
    exploration: Exploration | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Surface:
        for what, names in (
            ("constraints", [one.name for one in self.constraints]),
            ("pins", [pin.item for pin in self.pins]),
            ("pins", [pin.position for pin in self.pins]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{what}: no name, item or position may come twice")
        return self

    @cached_property
    def neutral(self) -> bool:
        """Whether it changes nothing."""
        return self == BUILT_IN


BUILT_IN: Final = Surface()


class Surfaces(Part):
    """The file: surfaces by name, `default` for requests that name none of the others; and the sources that a product team has."""

    surfaces: Mapping[Name, Surface] = Field(max_length=200)
    sources: Mapping[OwnName, OwnSource] = Field(default_factory=dict, max_length=20)

    def faults(self) -> Iterator[tuple[Keys, str]]:
        """What does not fit together, and where it stands."""
        for name in sorted(self.sources.keys() & {*Sources.model_fields, *ONLINE, "pinned"}):
            yield ("sources", name), "a source of Freshet has that name"
        for name, surface in self.surfaces.items():
            for own in surface.sources.own.keys() - self.sources.keys():
                yield ("surfaces", name, "sources", "own", own), "is none of the file's own sources"

    @cached_property
    def samples(self) -> bool:
        """Whether impressions are to be counted, for Thompson sampling."""
        return any(one.exploration and one.exploration.method == "thompson" for one in self.surfaces.values())

    def named(self, name: str | None) -> tuple[str, Surface]:
        """The surface of a request, and its name here."""
        known = name if name is not None and name in self.surfaces else DEFAULT
        return known, self.surfaces.get(known, BUILT_IN)


NO_SURFACES: Final = Surfaces(surfaces={})
