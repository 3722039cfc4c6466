"""What is known of a user and of an item, what is like an item, what is popular."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, Literal, cast

from pydantic_core import from_json

from feature_store.catalogue import parse_item
from feature_store.item_blob import ItemState, Neighbours, decay_factors, unpack_item, unpack_neighbours, window_counts
from feature_store.keys import item_key, profile_key, session_key, user_key
from feature_store.packing import CorruptBlob
from feature_store.session_blob import SessionState, session_of
from feature_store.user_blob import UserState, unpack_user
from schemas.errors import StoreUnavailable
from schemas.events import TYPE_NAMES
from schemas.horizons import HALF_LIVES, WINDOWS
from schemas.ids import partition_of
from schemas.timestamps import format_timestamp
from serving.answers import ItemPage, PopularItems, RecommendedItem, SimilarItems, UserPage
from serving.blended import Follows
from serving.content_source import ContentSource
from serving.guarded_store import GuardedStore
from serving.presentation import freshness, listed
from serving.ranking import trending
from serving.ranking.affinity import affinity
from serving.ranking.covisitation import count_at, similar
from serving.ranking.evidence import ranked, strongest, total
from serving.ranking.fusion import WEIGHTS, contributions, fuse, votes
from serving.ranking.reasons import FROM_CATALOGUE, POPULAR, popular_in, popular_where, shares, similar_to
from serving.shelf import Shelf
from serving.trending_lists import EMPTY, Leading, TrendingLists

STORE_GONE = "store_unavailable"
POOL: Final = 100
Likeness = Literal["behaviour", "content", "both"]


class Lookups:
    """Answers about one user, one item, or everything, each with at most two round trips."""

    def __init__(self, store: GuardedStore, lists: TrendingLists, shelf: Shelf, content: ContentSource, models: Follows) -> None:
        self._store = store
        self._lists = lists
        self._shelf = shelf
        self._content = content
        self._models = models

    async def user(self, user_id: str, now_ms: int) -> UserPage:
        """What is known of a user; zeros for one without events."""
        partition = partition_of(user_id, self._lists.partitions)
        try:
            blob, profile, session = await self._store.read(
                [key(partition, user_id) for key in (user_key, profile_key, session_key)]
            )
            state = unpack_user(blob) if blob else UserState()
        except (StoreUnavailable, CorruptBlob) as error:
            return _user_page(user_id, UserState(), _features(UserState()), now_ms, _why(error))
        return _user_page(user_id, state, _features(state, profile, session_of(blob or b"", session)), now_ms, None)

    async def item(self, item_id: str) -> ItemPage | None:
        """What is known of an item; None if neither catalogue nor store knows it."""
        record = self._shelf.record(item_id)
        try:
            blob = (await self._store.read([self._item_key(item_id)]))[0]
            state = unpack_item(blob) if blob else None
        except (StoreUnavailable, CorruptBlob) as error:
            return _item_page(item_id, record, _NO_NUMBERS, _why(error))
        if state is None and record is None:
            return None
        return _item_page(item_id, record, _numbers(state or ItemState(), self._lists.stream_time), None)

    async def similar(self, item_id: str, k: int, by: Likeness = "both") -> SimilarItems | None:
        """Items taken together with an item, described like it, or both; None if nobody knows the item.

        Where people's behaviour is asked for and says nothing: what is described like it, or else popular in its categories.
        """
        described = self._shelf.record(item_id) is not None
        together, known, degraded = await self._taken_with(item_id) if by != "content" or not described else ({}, True, None)
        if not known and not described:
            return None
        alike = self._content.candidates([item_id], POOL + k, (item_id,)) if by != "behaviour" else {}
        lists = {"covisitation": together if by != "content" else {}, "content": alike}
        items = self._listed_similar(item_id, lists, k)
        if not items:
            items, degraded = self._of_the_same_kind(item_id, k), degraded or "no_similar_items"
        return {"item_id": item_id, "items": items, "degraded": degraded}

    async def popular(self, half_life: str | None, window: str | None, category: str | None, k: int) -> PopularItems:
        """What is popular now: mixed over all time scales unless one half-life or window is named."""
        leading, degraded = await self._leading(category)
        scores = _ranked_by(leading, half_life, window)
        shown = islice((pair for pair in scores.items() if self._shelf.may_show(pair[0])), k)
        reason = popular_in(category, liked=False) if category else POPULAR
        items = [listed(self._shelf, rank, item, score, "trending", reason) for rank, (item, score) in enumerate(shown, 1)]
        if not items and not category:
            items, degraded = self._newest(k), degraded or "no_events"
        at = leading.popularity.at
        as_of = format_timestamp(at) if at else None
        return {
            "half_life": half_life, "window": window, "category": category, "context": [], "items": items, "as_of": as_of,
            "degraded": degraded,
        }  # fmt: skip

    async def popular_where(self, contexts: Sequence[str], k: int) -> PopularItems:
        """What is popular in some contexts ("name=value"), as far as the learner has told."""
        model = self._models.current
        popular = model.contexts if model else None
        moment = model.newest_ms if model else 0
        ids, scores = popular.candidates(contexts, moment, POOL + k) if popular else ([], ())
        shown = [(item, float(score)) for item, score in zip(ids, scores, strict=True) if self._shelf.may_show(item)][:k]
        items = [
            listed(self._shelf, rank, item, score, "context", popular_where(contexts))
            for rank, (item, score) in enumerate(shown, 1)
        ]
        if popular:
            speeds = popular.velocities(contexts, [item for item, _ in shown], moment).tolist()
            for item, speed in zip(items, speeds, strict=True):
                item["velocity"] = speed
        return {
            "half_life": None, "window": None, "category": None, "context": list(contexts), "items": items,
            "as_of": format_timestamp(moment) if moment else None, "degraded": None if items else "no_events",
        }  # fmt: skip

    def _item_key(self, item_id: str) -> bytes:
        return item_key(partition_of(item_id, self._lists.partitions), item_id)

    async def _taken_with(self, item_id: str) -> tuple[dict[str, float], bool, str | None]:
        """Items taken together with one, whether it may be known, and what was wrong with the store."""
        try:
            blob = (await self._store.read([self._item_key(item_id)]))[0]
            return (await self._similar(unpack_neighbours(blob)) if blob else {}), blob is not None, None
        except (StoreUnavailable, CorruptBlob) as error:
            return {}, True, _why(error)

    def _listed_similar(self, item_id: str, lists: Mapping[str, Mapping[str, float]], k: int) -> list[RecommendedItem]:
        """The best of one list with its own scores, of several by their ranks."""
        parts = {name: self._may_show(best) for name, best in lists.items() if best}
        if len(parts) > 1:
            parts = {name: votes(ranked(best, len(best)), WEIGHTS[name]) for name, best in parts.items()}
        shown = enumerate(islice(fuse(parts).items(), k), 1)
        return [self._similar_item(item_id, rank, item, score, contributions(parts, item)) for rank, (item, score) in shown]

    def _may_show(self, scores: Mapping[str, float]) -> dict[str, float]:
        return {item: score for item, score in scores.items() if self._shelf.may_show(item)}

    def _similar_item(self, item_id: str, rank: int, item: str, score: float, sources: dict[str, float]) -> RecommendedItem:
        name = self._shelf.name(item_id)
        alike = self._content.likeness(item, [item_id]) if "covisitation" not in sources else None
        reason = shares(alike.shared, name) if alike else similar_to(name)
        return {**listed(self._shelf, rank, item, score, "", reason), "sources": sources}

    async def _similar(self, near: Neighbours) -> dict[str, float]:
        blobs = await self._store.read([self._item_key(item) for item in near.ids])
        others = {item: unpack_neighbours(blob) for item, blob in zip(near.ids, blobs, strict=True) if blob}
        moment = max([near.newest, *(other.newest for other in others.values())])
        return similar(near, {item: count_at(moment, other) for item, other in others.items()}, count_at(moment, near))

    def _of_the_same_kind(self, item_id: str, k: int) -> list[RecommendedItem]:
        categories = self._shelf.categories_of(item_id)
        shares = dict.fromkeys(categories, 1.0 / max(1, len(categories)))
        evidence = affinity(shares, {name: self._lists.category(name).best for name in categories})
        scores = total(evidence)
        shown = [item for item in ranked(scores, len(scores)) if item != item_id and self._shelf.may_show(item)][:k]
        return [
            listed(self._shelf, rank, item, scores[item], "affinity", popular_in(strongest(evidence, item) or "", liked=False))
            for rank, item in enumerate(shown, 1)
        ]

    async def _leading(self, category: str | None) -> tuple[Leading, str | None]:
        gone = None if self._store.answers else STORE_GONE
        if category is None:
            return self._lists.overall(), gone
        try:
            return await self._lists.fetch_category(category), gone
        except StoreUnavailable:
            return EMPTY, STORE_GONE

    def _newest(self, k: int) -> list[RecommendedItem]:
        return [
            listed(self._shelf, rank, item, 0.0, "catalogue", FROM_CATALOGUE) for rank, item in enumerate(self._shelf.newest[:k], 1)
        ]


_NO_NUMBERS: Final[dict[str, Any]] = {"counts": None, "popularity": None, "windows": None, "as_of": None}


def _why(error: StoreUnavailable | CorruptBlob) -> str:
    return STORE_GONE if isinstance(error, StoreUnavailable) else "damaged_state"


def _features(state: UserState, profile: bytes | None = None, session: SessionState | None = None) -> dict[str, Any]:
    """What is known beside events: leanings, the profile, and how many events the session model's state stands for."""
    return {
        "affinities": dict(sorted(state.affinities.items(), key=lambda pair: (-pair[1], pair[0]))),
        "profile": from_json(profile) if profile else {},
        "session": {"model": session.model, "steps": session.steps} if session else None,
    }


def _user_page(user_id: str, state: UserState, features: dict[str, Any], now_ms: int, degraded: str | None) -> UserPage:
    return {
        "user_id": user_id,
        "counts": None if degraded else dict(zip(TYPE_NAMES, state.counts, strict=True)),
        "history": [
            {"item_id": entry.item_id, "type": TYPE_NAMES[entry.type], "timestamp": format_timestamp(entry.timestamp)}
            for entry in state.history
        ],
        "features": features,
        "freshness": freshness(state.newest, state.effect_ms, now_ms),
        "degraded": degraded,
    }


def _item_page(item_id: str, record: bytes | None, numbers: Mapping[str, Any], degraded: str | None) -> ItemPage:
    fields = parse_item(record).model_dump(mode="json", exclude_none=True) if record else {"item_id": item_id}
    return cast(ItemPage, {**fields, **numbers, "degraded": degraded})


def _numbers(state: ItemState, stream_time: int) -> dict[str, Any]:
    """Counts over all time; popularity and windows at the newest moment that the stream has reached."""
    moment = max(stream_time, state.newest)
    factors = decay_factors(moment - state.newest).tolist()
    popularity = [count * factor for count, factor in zip(state.decayed, factors, strict=True)]
    return {
        "counts": dict(zip(TYPE_NAMES, state.counts, strict=True)),
        "popularity": {name: value if math.isfinite(value) else 0.0 for name, value in zip(HALF_LIVES, popularity, strict=True)},
        "windows": dict(zip(WINDOWS, window_counts(state.buckets, state.newest, moment), strict=True)),
        "as_of": format_timestamp(moment) if moment else None,
    }


def _ranked_by(leading: Leading, half_life: str | None, window: str | None) -> dict[str, float]:
    popularity = leading.popularity
    if half_life is not None:
        return trending.leaders(popularity, trending.by_half_life(popularity, half_life), len(popularity.items))
    if window is not None:
        return trending.leaders(popularity, trending.by_window(popularity, window), len(popularity.items))
    return leading.best
