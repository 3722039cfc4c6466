"""What the API knows of items, people, requests and models, as dataclasses. See `answers`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from freshet_client.answers import Freshness, Models, RecommendedItem
from freshet_client.decoding import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage(Answer):
    """What is known of an item: its catalogue record, exact counts by type of event, popularity by half-life, counts in windows."""

    item_id: str
    title: str | None = None
    description: str | None = None
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    price: float | None = None
    available: bool | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] | None = None
    popularity: dict[str, float] | None = None
    windows: dict[str, int] | None = None
    as_of: str | None = None
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastEvent(Answer):
    """One event of a history."""

    item_id: str
    type: str
    timestamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage(Answer):
    """What is known of a user: exact counts by type of event, the newest events, what the models go by."""

    user_id: str
    history: tuple[PastEvent, ...] = ()
    counts: dict[str, int] | None = None
    features: dict[str, Any] = field(default_factory=dict)
    freshness: Freshness = field(default_factory=Freshness)
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten(Answer):
    """That a user is being forgotten; done everywhere within a minute."""

    user_id: str | None = None
    accepted_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Answer):
    """An item that a list might have had: its `place` by `score`, from 1, and its `fate`; `place_before` a ranker."""

    item_id: str
    place: int
    score: float = 0.0
    title: str | None = None
    sources: dict[str, float] = field(default_factory=dict)
    fate: str = ""
    place_before: int | None = None
    features: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest(Answer):
    """What the list of a request was made of."""

    request_id: str
    at: str | None = None
    user_id: str | None = None
    query: dict[str, Any] = field(default_factory=dict)
    surface: dict[str, Any] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    constraints: dict[str, str] = field(default_factory=dict)
    relaxed: tuple[str, ...] = ()
    models: Models = field(default_factory=Models)
    freshness: Freshness = field(default_factory=Freshness)
    degraded: str | None = None
    items: tuple[RecommendedItem, ...] = ()
    history: tuple[PastEvent, ...] = ()
    kept_away: tuple[str, ...] = ()
    sources: dict[str, int] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal(Answer):
    """What would become of an item had the person had nothing to do with another (`without`)."""

    without: str
    title: str | None = None
    place: int | None = None
    takes_it_away: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Why(Answer):
    """Why an item was in the list of a request, or why it was not: `verdict` in a word, `because` in a sentence."""

    request_id: str
    item_id: str
    shown: bool
    verdict: str = ""
    because: str = ""
    title: str | None = None
    rank: int | None = None
    place: int | None = None
    place_before: int | None = None
    score: float | None = None
    sources: dict[str, float] = field(default_factory=dict)
    models_now: str | None = None
    place_now: int | None = None
    removals: tuple[Removal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores(Answer):
    """How well one model foresees what is taken next: metric to value, None where nothing was ranked yet."""

    total: dict[str, float | None] = field(default_factory=dict)
    rolling: dict[str, float | None] = field(default_factory=dict)
    segments: dict[str, dict[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoreboard(Answer):
    """Every model and the blend, judged on each sampled event before they learnt it."""

    events: int = 0
    ranked: int = 0
    at: str | None = None
    newest_event_at: str | None = None
    sample: float | None = None
    mode: str | None = None
    models: dict[str, ModelScores] = field(default_factory=dict)
    published: dict[str, Any] | None = None
    reachable: dict[str, float | None] = field(default_factory=dict)
    drifts: tuple[dict[str, Any], ...] = ()
    ratings: dict[str, float | None] = field(default_factory=dict)
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineModels(Answer):
    """The learner's models, as the API process that answered has them."""

    nearline: str
    blend: str
    trained: bool = False
    events: int = 0
    committed_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(Answer):
    """A published version; a broken one has a `problem` instead of what it is."""

    model: str
    version: str
    status: str
    ranks_here: bool = False
    created_at: str | None = None
    trained_until: str | None = None
    bytes: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsPage(Answer):
    """The models there are; `online`: None while there are none."""

    online: OnlineModels | None = None
    versions: tuple[ModelVersion, ...] = ()
    faults: int = 0
