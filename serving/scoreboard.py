"""The learner's scoreboard, as the API hands it on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from feature_store.keys import SCOREBOARD
from schemas.errors import StoreUnavailable
from schemas.timestamps import format_timestamp
from serving.answers import Drift, ModelScores, PublishedScores, Scoreboard
from serving.guarded_store import GuardedStore

log = logging.getLogger(__name__)

NOTHING: Final[Scoreboard] = {
    "at": None, "newest_event_at": None, "events": 0, "ranked": 0, "sample": None, "mode": None, "models": {}, "published": None,
    "reachable": {"total": None, "rolling": None}, "drifts": [], "ratings": {"mae": None, "rmse": None, "events": 0},
    "degraded": "nothing_ranked_yet",
}  # fmt: skip
_MODELS: Final = TypeAdapter(dict[str, ModelScores])
_PUBLISHED: Final = TypeAdapter(PublishedScores | None)


class LiveScoreboard:
    """Reads it when somebody asks; what was read last stays for when the store does not answer."""

    def __init__(self, store: GuardedStore) -> None:
        self._store = store
        self._last = NOTHING

    async def read(self) -> Scoreboard:
        """The scoreboard now; empty with a reason while there is none."""
        try:
            blob = (await self._store.read([SCOREBOARD]))[0]
        except StoreUnavailable:
            return {**self._last, "degraded": "store_unavailable"}
        if blob is None:
            return NOTHING
        try:
            self._last = _scoreboard(orjson.loads(blob))
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            log.warning("scoreboard: %s", error)
            return {**self._last, "degraded": "damaged_scoreboard"}
        return {**self._last, "degraded": "nothing_ranked_yet"} if not self._last["ranked"] else self._last


def gauges(board: Scoreboard) -> Iterator[tuple[tuple[str, str, str], float]]:
    """(model, metric, window) and value of everything on the scoreboard; windows are `total`, `rolling` and the segments."""
    published = board["published"]["models"] if board["published"] else {}
    versions = {name: scores for name, scores in published.items() if "@" in name}  # not the blend once more
    for model, scores in (board["models"] | versions).items():
        for window, values in (("total", scores["total"]), ("rolling", scores["rolling"]), *scores["segments"].items()):
            yield from (((model, metric, window), value) for metric, value in values.items() if value is not None)


def _scoreboard(told: Mapping[str, Any]) -> Scoreboard:
    """From the learner's JSON, whose times are in ms."""
    return {
        "at": format_timestamp(told["at"]),
        "newest_event_at": format_timestamp(told["newest_event_at"]) if told["newest_event_at"] else None,
        "events": int(told["events"]),
        "ranked": int(told["ranked"]),
        "sample": told["sample"],
        "mode": told["mode"],
        "models": _MODELS.validate_python(told["models"]),
        "published": _PUBLISHED.validate_python(told.get("published")),
        "reachable": dict(told["reachable"]),
        "drifts": [_drift(**drift) for drift in told["drifts"]],
        "ratings": dict(told["ratings"]),
        "degraded": None,
    }


def _drift(at: int, event: int, before: float, after: float) -> Drift:
    return {"at": format_timestamp(at), "event": event, "before": before, "after": after}
