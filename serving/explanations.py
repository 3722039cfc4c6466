"""The forms of the answers about what was decided, see docs/explanations.md."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from serving.answers import Freshness, Models, PastEvent, RecommendedItem


class Candidate(TypedDict):
    """An item that a list might have had. `place`: by `score`, from 1. `sources`: its place in the own list of each source of the
    online blend, or what each source of the fixed blend adds. `fate`: `shown`, `ranked_behind`, `unavailable`, or the filter that
    it does not meet. `features`: as the blend's network saw them, standardised. `place_before`: by the blend alone, where a
    published ranker then gave the place and score."""

    item_id: str
    title: NotRequired[str]
    place: int
    score: float
    sources: dict[str, float]
    fate: str
    place_before: NotRequired[int]
    features: NotRequired[dict[str, float]]


class RequestPage(TypedDict):
    """What one list was made of. `surface`: its settings, as far as they are not the built-in ones. `kept_away`: items that were
    not to be shown again. `sources`: how many candidates each proposed."""

    request_id: str
    at: str
    user_id: str | None
    query: dict[str, Any]
    surface: dict[str, Any]
    filters: list[str]
    constraints: dict[str, str]
    relaxed: list[str]
    models: Models
    freshness: Freshness
    degraded: str | None
    items: list[RecommendedItem]
    history: list[PastEvent]
    kept_away: list[str]
    sources: dict[str, int]
    candidates: list[Candidate]


class Removal(TypedDict):
    """What would become of an item had the person had nothing to do with another: its place among the candidates then, null: none;
    and whether it would be out of the list."""

    without: str
    title: NotRequired[str]
    place: int | None
    takes_it_away: bool


class Why(TypedDict):
    """Why an item is in a list, or why it is not. `verdict`: `shown`, `ranked_behind`, `seen`, `disliked`, `unavailable`,
    `filtered`, `constraint`, `not_asked_for`, `no_candidate` or `unknown_item`. `removals`: for an item that is shown, by the
    models as they are now (`models_now`, which have it at `place_now`). `place_before`: by the blend alone, where a ranker gave the
    place."""

    request_id: str
    item_id: str
    title: NotRequired[str]
    shown: bool
    rank: int | None
    verdict: str
    because: str
    place: int | None
    place_before: NotRequired[int]
    score: float | None
    sources: dict[str, float]
    models_now: str | None
    place_now: int | None
    removals: list[Removal]
