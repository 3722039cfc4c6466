"""Which past item carries a recommendation: the same question again, without what the person did with that item.

The models are those of now, and what they have learnt from the events stays learnt: so nothing that they remember of the person is
asked for, neither here nor in the list that the others are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from feature_store.user_blob import HistoryEntry, UserState
from serving.blended import LARGEST_POOL, Blend
from serving.decision_record import Record, events_of
from serving.explanations import Removal
from serving.interests import interests_of
from serving.query import RecommendationQuery

LOOKED_AT: Final = 20  # a question costs what a recommendation costs


async def place_with_all(blend: Blend, record: Record, item: str) -> int | None:
    """The item's place among the candidates, from 1, after everything that the person had done; None: it is none."""
    query, history = _asked(record)
    return await _place(blend, query, history, item)


async def removals(blend: Blend, record: Record, item: str, k: int, place: int) -> list[Removal]:
    """What would become of an item without each of the last past items, those that carry it most first.

    Args:
        k: how many places the list had.
        place: of the item, with all of the history.
    """
    query, history = _asked(record)
    past = dict.fromkeys([*query.recent_items, *(entry.item_id for entry in history)])
    found: list[Removal] = []
    for one in [past_item for past_item in past if past_item != item][:LOOKED_AT]:
        rest = [entry for entry in history if entry.item_id != one]
        recent = [other for other in query.recent_items if other != one]
        then = await _place(blend, query.model_copy(update={"recent_items": recent}), rest, item)
        found.append({"without": one, "place": then, "takes_it_away": then is None or then > max(k, place)})
    return sorted(found, key=lambda removal: -(removal["place"] or LARGEST_POOL + 1))


def _asked(record: Record) -> tuple[RecommendationQuery, list[HistoryEntry]]:
    query = RecommendationQuery.model_validate(record["query"])
    return query.model_copy(update={"user_id": None, "explain": False}), [HistoryEntry(*event) for event in events_of(record)]


async def _place(blend: Blend, query: RecommendationQuery, history: Sequence[HistoryEntry], item: str) -> int | None:
    state = UserState(history=list(history), newest=history[0].timestamp if history else 0)
    # What was taken stays out of the list, but the item that is asked for, which may be shown again by the surface's rules.
    past = {entry.item_id for entry in history} - {item}
    blended = await blend.propose(query, interests_of(query, state, past), state)
    if blended is None or item not in blended:
        return None
    return list(blended.scores).index(item) + 1
