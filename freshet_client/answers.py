"""What the API answers, as dataclasses. What is said of each field: `/openapi.json`. Times are RFC 3339 texts in UTC.

Fields that this client does not know are no error; they are in `raw`. `degraded` says why an answer comes from a lower step of the
fallback chain (no store, an unknown user); None: it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from freshet_client.decoding import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendedItem(Answer):
    """One place of a list. `sources` are what each source added to `score`; `propensity`: how likely the item was to be in it;
    `satisfaction`: in a list for several people, what each of them gains by it."""

    item_id: str
    rank: int
    score: float = 0.0
    title: str | None = None
    velocity: float | None = None
    propensity: float | None = None
    sources: dict[str, float] = field(default_factory=dict)
    satisfaction: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def position(self) -> int:
        """The place counted from 0, as impressions count: what a click on it says as `position`."""
        return self.rank - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness(Answer):
    """How old the newest signal in an answer is, and how long it took to have its effect."""

    newest_event_at: str | None = None
    age_ms: int | None = None
    event_to_effect_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Models(Answer):
    """Which models made a list."""

    nearline: str = ""
    batch: str | None = None
    blend: str = ""
    ranker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendations(Answer):
    """What to show. `request_id` goes with the clicks on it; `relaxed`: those of its constraints that gave way."""

    request_id: str
    items: tuple[RecommendedItem, ...]
    user_id: str | None = None
    models: Models = field(default_factory=Models)
    freshness: Freshness = field(default_factory=Freshness)
    experiment: dict[str, Any] | None = None
    degraded: str | None = None
    relaxed: tuple[str, ...] = ()
    explanation: dict[str, Any] | None = None

    @property
    def item_ids(self) -> list[str]:
        """The items' ids, best first."""
        return [item.item_id for item in self.items]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember(Answer):
    """One of several people who get one list: what they gain by it on average, and whether anything is known of them."""

    user_id: str
    known: bool = False
    satisfaction: float = 0.0
    freshness: Freshness = field(default_factory=Freshness)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecommendations(Recommendations):
    """What to show to several people at once."""

    strategy: str = ""
    members: tuple[GroupMember, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedItem(Answer):
    """One of the given items, in its place from 1."""

    item_id: str
    rank: int
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Answer):
    """Given items in the order in which this person should see them. Nothing is logged as shown."""

    items: tuple[RankedItem, ...]
    user_id: str | None = None
    models: Models = field(default_factory=Models)
    freshness: Freshness = field(default_factory=Freshness)
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarItems(Answer):
    """Items like one item."""

    item_id: str
    items: tuple[RecommendedItem, ...]
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularItems(Answer):
    """What is popular; `as_of` is the newest event's time."""

    items: tuple[RecommendedItem, ...]
    half_life: str | None = None
    window: str | None = None
    category: str | None = None
    context: tuple[str, ...] = ()
    as_of: str | None = None
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingItem(Answer):
    """An item to ask somebody new about, and why this one."""

    item_id: str
    rank: int
    title: str | None = None
    categories: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onboarding(Answer):
    """What to ask somebody new, most telling first. `basis`: what it goes by."""

    items: tuple[OnboardingItem, ...]
    basis: str | None = None
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness(Answer):
    """Whether the API can do its work, check by check."""

    ready: bool
    checks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedEvent(Answer):
    """An event that was not taken, by its place in what was sent, and why."""

    index: int
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake(Answer):
    """What became of events: accepted means acknowledged by Kafka."""

    accepted: int
    rejected: tuple[RejectedEvent, ...] = ()
