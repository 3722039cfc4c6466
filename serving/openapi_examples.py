"""Examples in the app's OpenAPI document: what each call answers, and what events look like. From the small cinema of the tests."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

_MOMENT: Final = "2026-01-01T08:59:00.000Z"
_FRESHNESS: Final = {"newest_event_at": _MOMENT, "age_ms": 84, "event_to_effect_ms": 31}
_MODELS: Final = {"nearline": "covisitation-1+affinity-1+content-1+trending-1", "batch": None, "blend": "fixed-rrf-1"}
_COUNTS: Final = {"view": 1, "click": 3, "like": 0, "dislike": 0, "rating": 0, "add_to_cart": 0, "purchase": 0, "hide": 0}
_REQUEST: Final = "01KDWCJ2M0HE94TV6W939HKY67"
_PLACE: Final = {
    "item_id": "2", "rank": 1, "score": 0.0275, "title": "Aliens", "reason": "because you watched Alien",
    "sources": {"covisitation": 0.0164, "affinity": 0.0063, "trending": 0.0048},
}  # fmt: skip
_LIST: Final = {
    "request_id": _REQUEST, "user_id": "ann", "items": [_PLACE], "models": _MODELS, "freshness": _FRESHNESS, "experiment": None,
    "degraded": None,
}  # fmt: skip
_PAST: Final = {"item_id": "1", "type": "view", "timestamp": _MOMENT}
_SCORES: Final = {"total": {"recall@10": 0.21}, "rolling": {"recall@10": 0.23}, "segments": {"cold": {"recall@10": 0.11}}}

ANSWERS: Final[dict[str, Any]] = {
    "POST /v1/events": {
        "accepted": 1, "rejected": [{"index": 1, "reason": "invalid", "detail": "user_id=5: Input should be a valid string"}],
    },
    "GET /v1/users/{user_id}/recommendations": _LIST,
    "POST /v1/recommendations": _LIST,
    "POST /v1/groups/recommendations": {
        **_LIST, "user_id": None, "strategy": "average",
        "items": [
            {**_PLACE, "score": 0.75, "reason": "among the first 3 for 2 of 2", "satisfaction": {"ann": 1.0, "ben": 0.5}},
        ],
        "members": [
            {"user_id": "ann", "known": True, "satisfaction": 1.0, "freshness": _FRESHNESS},
            {"user_id": "ben", "known": True, "satisfaction": 0.5, "freshness": _FRESHNESS},
        ],
    },
    "POST /v1/rank": {
        "user_id": "ann", "models": _MODELS, "freshness": _FRESHNESS, "degraded": None,
        "items": [{"item_id": "2", "rank": 1, "score": 0.0275}, {"item_id": "5", "rank": 2, "score": 0.0}],
    },
    "GET /v1/models": {
        "online": {"nearline": "online-1@13", "blend": "blend@30003", "trained": True, "events": 30003, "committed_at": _MOMENT},
        "versions": [
            {"model": "item2vec", "version": "20260101T080000Z-3f9a1c", "status": "serving", "ranks_here": True, "bytes": 1310720,
             "created_at": _MOMENT, "trained_until": _MOMENT, "metrics": {"recall@10": 0.1086}},
        ],
        "faults": 0,
    },
    "GET /v1/onboarding": {
        "items": [
            {"item_id": "1", "rank": 1, "title": "Alien", "categories": ["Horror"],
             "why": "popular, and 57% of what people take is like it"},
        ],
        "basis": "popularity", "degraded": None,
    },
    "GET /v1/items/{item_id}": {
        "item_id": "1", "title": "Alien", "categories": ["Horror"], "tags": [], "attributes": {}, "available": True,
        "counts": _COUNTS, "popularity": {"1h": 0.25, "6h": 1.2, "24h": 2.5, "4d": 3.04, "14d": 3.19, "60d": 3.24},
        "windows": {"1h": 1, "24h": 4, "7d": 4}, "as_of": _MOMENT, "degraded": None,
    },
    "GET /v1/items/{item_id}/similar": {
        "item_id": "1", "degraded": None,
        "items": [{**_PLACE, "reason": "similar to Alien", "sources": {"covisitation": 0.0164, "content": 0.0159}}],
    },
    "GET /v1/popular": {
        "half_life": None, "window": None, "category": None, "context": [], "as_of": _MOMENT, "degraded": None,
        "items": [{**_PLACE, "score": 1.0, "reason": "popular now", "sources": {"trending": 1.0}}],
    },
    "GET /v1/users/{user_id}": {
        "user_id": "ann", "counts": _COUNTS, "history": [_PAST],
        "features": {"affinities": {"Horror": 0.25}, "profile": {}, "session": None}, "freshness": _FRESHNESS, "degraded": None,
    },
    "DELETE /v1/users/{user_id}": {"user_id": "ann", "accepted_at": _MOMENT},
    "GET /v1/requests/{request_id}": {
        "request_id": _REQUEST, "at": _MOMENT, "user_id": "ann", "query": {"user_id": "ann", "k": 1},
        "surface": {"name": "default"},
        "filters": [], "constraints": {}, "relaxed": [], "models": _MODELS, "freshness": _FRESHNESS, "degraded": None,
        "items": [_PLACE], "history": [_PAST], "kept_away": ["1"], "sources": {"covisitation": 3, "affinity": 3, "trending": 8},
        "candidates": [
            {"item_id": "2", "title": "Aliens", "place": 1, "score": 0.0275, "sources": _PLACE["sources"], "fate": "shown"},
            {"item_id": "3", "title": "The Thing", "place": 2, "score": 0.027, "sources": {"covisitation": 0.0161},
             "fate": "ranked_behind"},
        ],
    },
    "GET /v1/requests/{request_id}/why": {
        "request_id": _REQUEST, "item_id": "2", "title": "Aliens", "shown": True, "rank": 1, "verdict": "shown",
        "because": "because you watched Alien", "place": 1, "score": 0.0275, "sources": _PLACE["sources"], "models_now": None,
        "place_now": None, "removals": [],
    },
    "GET /v1/scoreboard": {
        "at": _MOMENT, "newest_event_at": _MOMENT, "events": 100_000, "ranked": 2000, "sample": 0.02, "mode": "A",
        "models": {"blend": _SCORES}, "published": None, "reachable": {"total": 0.8, "rolling": 0.82},
        "drifts": [{"at": _MOMENT, "event": 52_000, "before": 0.25, "after": 0.18}], "ratings": {"mae": 0.7, "rmse": 0.9},
        "degraded": None,
    },
    "POST /v1/surfaces/preview": {
        "surface": "home", "served": _LIST, "preview": {**_LIST, "items": []}, "entered": [], "left": ["2"],
    },
    "GET /healthz": {"status": "alive"},
    "GET /readyz": {"ready": True, "checks": {"store": "ok", "catalogue": "ok", "kafka": "ok"}},
}  # fmt: skip

_CLICK: Final = {
    "type": "click", "event_id": "0b6b2ad2f0a94d3b8c5e0c3f7f8f2d11", "user_id": "ann", "item_id": "2", "timestamp": _MOMENT,
    "session_id": "visit-7", "request_id": _REQUEST, "position": 0, "context": {"device": "phone", "country": "DE"},
}  # fmt: skip
EVENTS: Final[dict[str, dict[str, Any]]] = {
    "a click on a recommendation": {"value": _CLICK},
    "feedback, and feedback taken back": {
        "value": [
            {"type": "rating", "user_id": "ann", "item_id": "2", "value": 4.5},
            {"type": "hide", "user_id": "ann", "item_id": "3", "undo": True},
        ]
    },
    "a list that the client itself showed": {
        "value": {
            "type": "impression", "request_id": "own-1", "user_id": "ann",
            "items": [{"item_id": "2", "position": 0}, {"item_id": "3", "position": 1}],
        }
    },
}  # fmt: skip
_UNKNOWN_ITEM: Final = {
    "type": "about:blank", "title": "Not Found", "status": 404, "detail": "nothing is known of item 'x'",
}  # fmt: skip


def illustrate(app: FastAPI) -> None:
    """Make `/openapi.json` show what calls answer, what events look like, and that an item may be unknown."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        if "404" not in schema["paths"]["/v1/items/{item_id}"]["get"]["responses"]:
            _add_examples(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document


def _add_examples(schema: dict[str, Any]) -> None:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            example = ANSWERS.get(f"{method.upper()} {path}")
            if example is not None:
                _success(operation)["content"]["application/json"]["example"] = example
    schema["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["examples"] = EVENTS
    for path in ("/v1/items/{item_id}", "/v1/items/{item_id}/similar"):
        content = {"application/problem+json": {"schema": {"type": "object"}, "example": _UNKNOWN_ITEM}}
        schema["paths"][path]["get"]["responses"]["404"] = {"description": "Nothing is known of the item", "content": content}


def _success(operation: dict[str, Any]) -> dict[str, Any]:
    """The description of the answer that is no error."""
    found: dict[str, Any] = next(one for status, one in operation["responses"].items() if status.startswith("2"))
    return found
