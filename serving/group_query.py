"""What several people may ask for together, checked."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Context
from serving.query import MAX_K, DifferentIds, RecommendationQuery, Surface
from serving.ranking.groups import Strategy
from serving.surfaces import Filter, Share
from serving.wishes import Wishes

MAX_MEMBERS: Final = 20


class GroupQuery(BaseModel):
    """One list for several people: the body of `POST /v1/groups/recommendations`.

    Attributes:
        user_ids: the members, 2 to 20 different ones; who is not known counts as somebody new.
        strategy: what is made of the members' satisfaction with an item: its mean, its least, its most (docs/visitors.md).

    The others are as of `RecommendationQuery`; `seen` and `bought` of a filter: by all members, `hidden`: by any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_ids: DifferentIds = Field(min_length=2, max_length=MAX_MEMBERS, examples=[["42", "7"]])
    strategy: Strategy = "average"
    k: int = Field(10, ge=1, le=MAX_K)
    surface: Surface | None = None
    explain: bool = False
    context: Context = Field(default_factory=dict, max_length=64)
    filter: Filter | None = Field(default=None, examples=['price < 20 and "comedy" in categories and not seen'])
    constraints: Wishes | None = None
    diversity: Share | None = None
    explore: Share | None = None

    def of(self, user_id: str) -> RecommendationQuery:
        """The same of one person."""
        return RecommendationQuery.model_construct(
            user_id=user_id, k=self.k, surface=self.surface, context=self.context, filter=self.filter,
            constraints=self.constraints, diversity=self.diversity, explore=self.explore,
        )  # fmt: skip
