"""The forms of the answers. TypedDicts: documented in OpenAPI, built as plain dicts, never validated again on the way out."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict


class RecommendedItem(TypedDict):
    """One place of a list. `sources` are what each source added to `score`. `propensity`: where there was chance in the list, how
    likely the item was to be in it. `velocity`: how often it is taken lately, the last hours against the last days; 1: as ever.
    `satisfaction`: in a list for several people, what each of them gains by it, 1: their first choice, 0: their last."""

    item_id: str
    rank: int
    score: float
    title: NotRequired[str]
    velocity: NotRequired[float]
    propensity: NotRequired[float]
    satisfaction: NotRequired[dict[str, float]]
    sources: dict[str, float]
    reason: str


class Models(TypedDict):
    """Which models made the list. `ranker`: the published version that put the blend's best into its own order, where one did."""

    nearline: str
    batch: str | None
    blend: str
    ranker: NotRequired[str]


class Freshness(TypedDict):
    """How old the newest signal in an answer is."""

    newest_event_at: str | None
    age_ms: int | None
    event_to_effect_ms: int | None


class Recommendations(TypedDict):
    """Answer to a recommendation request; `degraded` says why it is from a lower step, null if it is not. `relaxed`: those
    of its constraints that gave way."""

    request_id: str
    user_id: str | None
    items: list[RecommendedItem]
    models: Models
    freshness: Freshness
    experiment: dict[str, str] | None
    degraded: str | None
    relaxed: NotRequired[list[str]]
    explanation: NotRequired[dict[str, Any]]


class GroupMember(TypedDict):
    """One of several people who get one list: whether anything is known of them, the mean of what they gain by its items, and how
    old the newest signal from them is."""

    user_id: str
    known: bool
    satisfaction: float
    freshness: Freshness


class GroupRecommendations(Recommendations):
    """Answer to a request of a group. `score` is what the strategy makes of the members' `satisfaction`; `sources` are what each
    source says for the item, the mean over the members; `freshness` is of the newest signal from any of them."""

    strategy: str
    members: list[GroupMember]


class RankedItem(TypedDict):
    """One of the given items, in its place."""

    item_id: str
    rank: int
    score: float


class Ranking(TypedDict):
    """The given items in order, all of them; `degraded` says why the order is not fully personal."""

    user_id: str | None
    items: list[RankedItem]
    models: Models
    freshness: Freshness
    degraded: str | None


class Preview(TypedDict):
    """What a surfaces file would have recommended, beside what is served now; items that come and that go by it."""

    surface: str
    served: Recommendations
    preview: Recommendations
    entered: list[str]
    left: list[str]


class OnboardingItem(TypedDict):
    """An item to ask somebody new about, and why this one."""

    item_id: str
    rank: int
    title: NotRequired[str]
    categories: list[str]
    why: str


class Onboarding(TypedDict):
    """What to ask somebody new, most telling first. `basis`: what it goes by, `models`, `popularity`, `catalogue` or `nothing`."""

    items: list[OnboardingItem]
    basis: str
    degraded: str | None


class PastEvent(TypedDict):
    """One event of a history."""

    item_id: str
    type: str
    timestamp: str


class UserPage(TypedDict):
    """What is known of a user. `counts` is null while the store cannot be asked: they are exact or not given."""

    user_id: str
    counts: dict[str, int] | None
    history: list[PastEvent]
    features: dict[str, Any]
    freshness: Freshness
    degraded: str | None


class Forgetting(TypedDict):
    """A user is being forgotten."""

    user_id: str
    accepted_at: str


class ItemPage(TypedDict):
    """What is known of an item, together with its catalogue record. The numbers are null while the store cannot be asked."""

    item_id: str
    title: NotRequired[str]
    counts: dict[str, int] | None
    popularity: dict[str, float] | None
    windows: dict[str, int] | None
    as_of: str | None
    degraded: str | None


class SimilarItems(TypedDict):
    """Items like one item."""

    item_id: str
    items: list[RecommendedItem]
    degraded: str | None


class PopularItems(TypedDict):
    """What is popular: over all time scales, for one half-life, in one window, or in some contexts, where each item has a
    `velocity`; `as_of` is the newest event's time."""

    half_life: str | None
    window: str | None
    category: str | None
    context: list[str]
    items: list[RecommendedItem]
    as_of: str | None
    degraded: str | None


class Drift(TypedDict):
    """A change in how often the blend's first ten have what is taken: when, at which ranked event, the share before and after."""

    at: str
    event: int
    before: float
    after: float


class ModelScores(TypedDict):
    """How well one model foresees what is taken next: metric to value, null where nothing was ranked yet.

    `total` since the first event, `rolling` over the last 5,000 that were ranked, `segments` by cold and warm users, new and old
    items.
    """

    total: dict[str, float | None]
    rolling: dict[str, float | None]
    segments: dict[str, dict[str, float | None]]


class PublishedScores(TypedDict):
    """The batch models that serve now, `name@version`, and the blend beside them, on what was ranked since they do. `shadows`:
    which of them are only judged and answer nobody."""

    models: dict[str, ModelScores]
    shadows: list[str]
    ranked: int


class Scoreboard(TypedDict):
    """Every model and the blend, judged on each sampled event before they learnt it. `published`: the batch models that the blend
    takes candidates from; null: none. `degraded`: why this is nothing, or old.
    """

    at: str | None
    newest_event_at: str | None
    events: int
    ranked: int
    sample: float | None
    mode: str | None
    models: dict[str, ModelScores]
    published: PublishedScores | None
    reachable: dict[str, float | None]
    drifts: list[Drift]
    ratings: dict[str, float | None]
    degraded: str | None


class OnlineModels(TypedDict):
    """The learner's models as this process has them; `committed_at`: when the learner wrote them."""

    nearline: str
    blend: str
    trained: bool
    events: int
    committed_at: str


class ModelVersion(TypedDict):
    """A published version. `status`: `serving`, `shadow`, `previous`, `archived` or `broken`, which has a `problem` instead of what
    it is. `ranks_here`: whether it proposes candidates in this process."""

    model: str
    version: str
    status: str
    ranks_here: bool
    created_at: NotRequired[str]
    trained_until: NotRequired[str]
    bytes: NotRequired[int]
    metrics: NotRequired[dict[str, float]]
    problem: NotRequired[str]


class ModelsPage(TypedDict):
    """The models there are. `online`: null while there are none. `faults`: published versions that could not be used here."""

    online: OnlineModels | None
    versions: list[ModelVersion]
    faults: int


class RejectedEvent(TypedDict):
    """An event that was not taken, and why."""

    index: int
    reason: str
    detail: str


class Intake(TypedDict):
    """Answer to `POST /v1/events`: accepted means acknowledged by Kafka."""

    accepted: int
    rejected: list[RejectedEvent]


class Readiness(TypedDict):
    """Whether the API can do its work, check by check."""

    ready: bool
    checks: dict[str, str]
