"""Why a list is as it is: every candidate of a kept decision, and what became of one item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from feature_store.user_blob import HistoryEntry, UserState
from schemas.events import TYPE_NAMES
from schemas.timestamps import format_timestamp
from serving.answers import PastEvent, RecommendedItem
from serving.blended import Blend, shares
from serving.counterfactual import place_with_all, removals
from serving.decision_record import Record, disliked, events_of, kept_away
from serving.explanations import Candidate, RequestPage, Why
from serving.shelf import Shelf
from serving.steering import UNAVAILABLE, Steering

SHOWN: Final = "shown"
BEHIND: Final = "ranked_behind"
_NOT_FINITE: Final = -1e30


class Inspector:
    """Answers about kept decisions. What a record does not say is asked of the catalogue as it is now, and the answer says so."""

    def __init__(self, shelf: Shelf, steering: Steering, blend: Blend) -> None:
        self._shelf = shelf
        self._steering = steering
        self._blend = blend

    def page(self, record: Record) -> RequestPage:
        """Everything that a list was made of."""
        answer, found = record["answer"], candidates(record)
        for one in found:
            title = self._shelf.title(one["item_id"])
            if title is not None:
                one["title"] = title
        return {
            "request_id": record["request_id"],
            "at": format_timestamp(record["at"]),
            "user_id": answer["user_id"],
            "query": record["query"],
            "surface": record["surface"],
            "filters": record["filters"],
            "constraints": dict(record["constraints"]),
            "relaxed": answer.get("relaxed", []),
            "models": answer["models"],
            "freshness": answer["freshness"],
            "degraded": answer["degraded"],
            "items": answer["items"],
            "history": [_past(*event) for event in events_of(record)],
            "kept_away": sorted(kept_away(record)),
            "sources": _counts(found),
            "candidates": found,
        }

    async def why(self, record: Record, item: str) -> Why:
        """Why an item is in the list, or why it is not."""
        shown = next((place for place in record["answer"]["items"] if place["item_id"] == item), None)
        found = candidates(record)
        candidate = next((one for one in found if one["item_id"] == item), None)
        verdict, because = (SHOWN, shown["reason"]) if shown else self._against(record, item, candidate, len(_counts(found)))
        answer: Why = {
            "request_id": record["request_id"],
            "item_id": item,
            "shown": shown is not None,
            "rank": shown["rank"] if shown else None,
            "verdict": verdict,
            "because": because,
            "place": candidate["place"] if candidate else None,
            "score": candidate["score"] if candidate else None,
            "sources": candidate["sources"] if candidate else {},
            "models_now": None,
            "place_now": None,
            "removals": [],
        }
        if candidate and "place_before" in candidate:
            answer["place_before"] = candidate["place_before"]
        title = self._shelf.title(item)
        if title is not None:
            answer["title"] = title
        return await self._carried(answer, record, item) if shown else answer

    async def _carried(self, answer: Why, record: Record, item: str) -> Why:
        """The answer with what carries a shown item, if the blend of now still proposes it."""
        model = self._blend.models.current
        place = await place_with_all(self._blend, record, item) if model is not None else None
        if model is None or place is None:
            return answer
        k = len(record["answer"]["items"])
        found = await removals(self._blend, record, item, k, place)
        for removal in found:
            removal["title"] = self._shelf.name(removal["without"])
        return {**answer, "models_now": model.name, "place_now": place, "removals": found}

    def _against(self, record: Record, item: str, candidate: Candidate | None, sources: int) -> tuple[str, str]:
        """What speaks against an item that is not in the list, in the order in which a request looks."""
        asked_for, away = record["query"].get("candidates"), kept_away(record)
        if asked_for is not None and item not in asked_for:
            return "not_asked_for", f"the request names {len(asked_for)} candidates, and this is none of them"
        if item in disliked(record) and item in away:
            return "disliked", f"they hid or disliked it{_at(away[item])}"
        if item in away:
            return "seen", f"they had to do with it{_at(away[item])}, and the surface does not show it again yet"
        rule = record["refused"].get(item)
        if rule is not None:
            return _refused(rule, "")
        if candidate is None:
            return self._no_candidate(item, sources)
        return self._unmet(record, item) or (BEHIND, _behind(record, candidate))

    def _no_candidate(self, item: str, sources: int) -> tuple[str, str]:
        if self._shelf.record(item) is None and self._shelf.complete and len(self._shelf):
            return "unknown_item", "no source proposed it, and the catalogue does not have it now"
        return "no_candidate", f"none of the {sources} sources that had something to say proposed it"

    def _unmet(self, record: Record, item: str) -> tuple[str, str] | None:
        """A rule that the item does not meet now: nobody looked at it then, others stood before it."""
        state = UserState(history=[HistoryEntry(*event) for event in events_of(record)])
        rule = self._steering.refusal(item, record["filters"], state, record["at"])
        if rule is not None:
            return _refused(rule, " (by the catalogue as it is now)")
        held = [(name, text) for name, text in record["constraints"] if name not in record["answer"].get("relaxed", ())]
        for name, text in held:
            if self._steering.unmet(item, [text], state, record["at"]) is not None:
                return "constraint", f"does not meet {name}: {text} (by the catalogue as it is now)"
        return None


def candidates(record: Record) -> list[Candidate]:
    """All candidates of a decision in the order of their scores, those of the blend first.

    `score` is the blend's probability, or the sum of the votes of a fixed blend. `sources`: the place in each source's own list,
    for the blend; what each adds, for a fixed one.
    """
    found = _of_blend(record)
    known = {one["item_id"] for one in found}
    others = sorted(_voted(record).items(), key=lambda pair: -sum(pair[1].values()))
    behind = [(item, votes) for item, votes in others if item not in known]
    found += [
        {"item_id": item, "place": len(found) + n, "score": sum(votes.values()), "sources": votes, "fate": ""}
        for n, (item, votes) in enumerate(behind, 1)
    ]
    shown = {place["item_id"] for place in record["answer"]["items"]}
    for one in found:
        item = one["item_id"]
        one["fate"] = SHOWN if item in shown else record["refused"].get(item, BEHIND)
    return found


def _of_blend(record: Record) -> list[Candidate]:
    blend: dict[str, Any] = record.get("blend", {"items": [], "scores": [], "sources": {}})
    told = [_NOT_FINITE if score is None else score for score in blend["scores"]]  # JSON has no infinities
    scores = shares(np.array(told, np.float32)).tolist()
    sources: list[dict[str, float]] = [{} for _ in scores]
    for name, listed in blend["sources"].items():
        for row, place in zip(listed["rows"], listed["places"], strict=True):
            sources[row][name] = place
    found: list[Candidate] = [
        {"item_id": item, "place": n, "score": score, "sources": said, "fate": ""}
        for n, (item, score, said) in enumerate(zip(blend["items"], scores, sources, strict=True), 1)
    ]
    for n, one in enumerate(found if "features" in blend else ()):
        # Of an item that another source brought along the record has none.
        one["features"] = {name: row[n] for name, row in blend["features"].items() if row[n] is not None}
    return _ranked(found, record["ranker"]["log_shares"]) if "ranker" in record else found


def _ranked(found: list[Candidate], log_shares: Sequence[float]) -> list[Candidate]:
    """The blend's candidates in the order that a published ranker gave them."""
    for one, log_share in zip(found, log_shares, strict=True):
        one["place_before"], one["score"] = one["place"], math.exp(log_share)
    found.sort(key=lambda one: -one["score"])
    for place, one in enumerate(found, 1):
        one["place"] = place
    return found


def _voted(record: Record) -> dict[str, dict[str, float]]:
    """Item to what each source of a fixed blend adds to it."""
    said: dict[str, dict[str, float]] = {}
    for name, proposed in (*record["votes"].items(), ("context", record["here"])):
        for item, weight in proposed.items():
            said.setdefault(item, {})[name] = weight
    return said


def _counts(found: Sequence[Candidate]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found:
        for name in one["sources"]:
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def _past(item: str, kind: int, timestamp: int) -> PastEvent:
    return {"item_id": item, "type": TYPE_NAMES[kind], "timestamp": format_timestamp(timestamp)}


def _refused(rule: str, when: str) -> tuple[str, str]:
    if rule == UNAVAILABLE:
        return UNAVAILABLE, f"the catalogue does not have it, or not as available{when}"
    return "filtered", f"does not meet the filter: {rule}{when}"


def _behind(record: Record, candidate: Candidate) -> str:
    items: list[RecommendedItem] = record["answer"]["items"]
    told = f"place {candidate['place']} by score ({candidate['score']:.3g}); the list took {len(items)}"
    if items and candidate["place"] <= len(items):
        return f"{told}, and what else the surface asks for (diversity, caps, chance, places for new items, ...) preferred others"
    lowest = min((place["score"] for place in items), default=None)
    return told if lowest is None else f"{told}, the lowest of them with {lowest:.3g}"


def _at(timestamp: int) -> str:
    return f" at {format_timestamp(timestamp)}" if timestamp else " as the request itself says"
