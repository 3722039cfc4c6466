"""What a request knows of the person: what they took last, what they must not see again, what they like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from feature_store.user_blob import HistoryEntry, UserState
from schemas.events import NEGATIVE_TYPES, TYPE_WEIGHTS
from serving.query import RecommendationQuery
from serving.ranking.covisitation import SEEDS

PAGE_ITEM: Final = "item_id"  # the field of the request's context that names the item of the page


@dataclass(frozen=True)
class Interests:
    """The person as the candidate sources see them.

    Attributes:
        seeds: their last different items, newest first, to the type code of what they did last with each (None: not known).
        page: the item of the page, where nothing is known of the person; then it is the only seed.
        seen: items that are not shown again. again: whether anything of the history may be.
        affinities: category to decayed weight.
    """

    seeds: dict[str, int | None] = field(default_factory=dict)
    page: str | None = None
    seen: frozenset[str] = frozenset()
    affinities: dict[str, float] = field(default_factory=dict)
    again: bool = False


def interests_of(query: RecommendationQuery, state: UserState | None, past: Iterable[str] | None = None) -> Interests:
    """Put together what the request itself says and what the store knows; the request's own items count as the newest.

    Args:
        past: what of the history is not shown again; None: all of it.
    """
    history = state.history if state else []
    seeds: dict[str, int | None] = dict.fromkeys(query.recent_items[:SEEDS])
    for item, kind in _last_word(history):
        if len(seeds) >= SEEDS:
            break
        if kind not in NEGATIVE_TYPES and TYPE_WEIGHTS[kind] > 0:
            seeds.setdefault(item, kind)
    seen = frozenset(query.recent_items).union((entry.item_id for entry in history) if past is None else past)
    page = query.context.get(PAGE_ITEM)
    if seeds or not isinstance(page, str) or not page:
        again = past is not None and any(entry.item_id not in seen for entry in history)
        return Interests(seeds, None, seen, state.affinities if state else {}, again)
    return Interests({page: None}, page, seen | {page}, state.affinities if state else {})


def _last_word(history: list[HistoryEntry]) -> Iterable[tuple[str, int]]:
    """Each item once, with what was done with it last: somebody who hides what they clicked does not want more of it."""
    last: dict[str, int] = {}
    for entry in history:
        last.setdefault(entry.item_id, entry.type)
    return last.items()
