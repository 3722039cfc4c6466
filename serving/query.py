"""What a client may ask for, checked."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

import serving.any_path  # noqa: F401 (lets routes say {user_id:any})
from schemas.events import Context
from schemas.ids import Id
from serving.surfaces import Filter, Share
from serving.wishes import Wishes

MAX_K: Final = 200
MAX_RECENT: Final = 100
MAX_CANDIDATES: Final = 2000

K = Annotated[int, Query(ge=1, le=MAX_K, description="how many items, 1 to 200")]
UserId = Annotated[Id, Path(description="1 to 256 bytes of UTF-8 without control characters; may contain slashes")]
ItemId = Annotated[Id, Path(description="1 to 256 bytes of UTF-8 without control characters; may contain slashes")]


def _each_once(ids: list[str]) -> list[str]:
    if len(set(ids)) < len(ids):
        raise ValueError("no id may come twice")
    return ids


DifferentIds = Annotated[list[Id], AfterValidator(_each_once)]
Surface = Annotated[str, Field(min_length=1, max_length=100)]


class RecommendationQuery(BaseModel):
    """What to recommend, to whom, where. Also the body of `POST /v1/recommendations`.

    Attributes:
        session_id: of the visit. Events that were sent with the user id `session:<session_id>` count beside those of the user, so
            this alone serves somebody who has not logged in (docs/visitors.md).
        recent_items: what an anonymous visitor (or somebody whose events have not arrived yet) took last, newest first.
        candidates: recommend only from these.
        filter: only what this holds for (docs/serving.md). constraints: wishes, most important first; where fewer than k items meet
            them, the last are dropped first, and the answer says which.
        diversity: from 0 (as scored) to 1 (as unlike each other as can be); the surface's where it is not given.
        explore: how much chance is in the list, 0 to 1; the surface's where it is not given. Propensities are logged.
        context: goes with the impression; a text under `item_id` names the item of the page, whose neighbours are a last resort.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id: Id | None = None
    k: int = Field(10, ge=1, le=MAX_K)
    session_id: Id | None = None
    surface: Surface | None = None
    explain: bool = False
    recent_items: list[Id] = Field(default_factory=list, max_length=MAX_RECENT)
    candidates: list[Id] | None = Field(default=None, max_length=MAX_CANDIDATES)
    context: Context = Field(default_factory=dict, max_length=64)
    filter: Filter | None = Field(default=None, examples=['price < 20 and "comedy" in categories and not seen'])
    constraints: Wishes | None = Field(default=None, examples=[{"price": {"max": 20}, "categories": {"any": ["comedy", "drama"]}}])
    diversity: Share | None = Field(default=None, examples=[0.3])
    explore: Share | None = Field(default=None, examples=[0.1])
