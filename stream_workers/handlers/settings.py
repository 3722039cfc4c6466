"""The numbers of the online models."""

from __future__ import annotations

from typing import NamedTuple

from schemas.events import TYPE_WEIGHTS
from schemas.horizons import DAY_MS
from schemas.settings import Settings


class ModelSettings(NamedTuple):
    """What the stages need to know; defaults are those that did well on film, news and shop streams.

    Attributes:
        partitions: partition count of every topic.
        history_length: events kept per user.
        neighbours: co-visited items kept per item.
        affinities: categories kept per user.
        pair_depth: history items each event pairs with (m).
        pair_decay: weight ratio of successive history items (rho).
        backward: weight of the pair (new item -> earlier item) relative to (earlier -> new).
        pair_half_life_ms, affinity_half_life_ms: decay of pair weights and of category affinities.
        dedupe_hours: how long an event id is remembered.
        cached_users, cached_items: rows kept in memory per partition.
    """

    partitions: int = 4
    history_length: int = 100
    neighbours: int = 50
    affinities: int = 8
    pair_depth: int = 10
    pair_decay: float = 0.8
    backward: float = 0.5
    pair_half_life_ms: float = 30.0 * DAY_MS
    affinity_half_life_ms: float = 30.0 * DAY_MS
    type_weights: tuple[float, ...] = TYPE_WEIGHTS
    dedupe_hours: int = 25
    cached_users: int = 20_000
    cached_items: int = 100_000

    @classmethod
    def from_settings(cls, settings: Settings) -> ModelSettings:
        """The part of the process settings that the stages use."""
        shared = {name: getattr(settings, name) for name in cls._fields if name in Settings.model_fields}
        return cls(**shared)
