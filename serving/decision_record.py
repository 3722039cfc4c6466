"""A decision as it is kept: everything that its list was made of, as JSON, compressed.

    {"request_id", "at": ms, "viewer", "query": what was asked, "surface": its settings, "answer": as it was given,
     "filters": [text], "constraints": [[name, text]], "history": [[item, type, ms]], "kept_away": [item], "refused": {item: rule},
     "blend": {"items": [...], "scores": [...], "sources": {name: {"rows": [...], "places": [...]}}, "features": {name: [...]}},
     "ranker": {"version": name, "log_shares": [...]},
     "votes": {source: {item: weight}}, "here": {item: share}, "own_sources": {name: {"items": [...], "failure": reason}}}

`rows` are places in `items`, which begin at 0; `places` those in the source's own list, which begin at 1. `scores` are the blend's
own, `log_shares` the logarithms of the probabilities by which a published ranker then ordered the same items.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from feature_store.packing import CorruptBlob
from schemas.events import NEGATIVE_TYPES
from serving.answers import Recommendations
from serving.blend_features import feature_names
from serving.blended import Blended
from serving.decision import Decision
from serving.plan import filters_of, wishes_of

Record = dict[str, Any]
_QUICKLY: Final = 1
_DIGITS: Final = 4  # half of the bytes of a record are digits


def record_of(decision: Decision, answer: Recommendations, refused: Mapping[str, str], viewer: str, now_ms: int) -> Record:
    """What is kept of a decision.

    Args:
        refused: of the items that stood before others of the list and may not be shown, the rule that says so.
        viewer: whom it is about, see `presentation.viewer`.
    """
    plan, state = decision.plan, decision.state
    away = plan.kept_away(state)
    record: Record = {
        "request_id": answer["request_id"],
        "at": now_ms,
        "viewer": viewer,
        "query": decision.query.model_dump(mode="json", exclude_defaults=True),
        "surface": {"name": plan.name, **({} if plan.plain else plan.surface.model_dump(mode="json", exclude_defaults=True))},
        "filters": filters_of(decision.query, plan.surface),
        "constraints": [] if plan.plain else [(one.name, one.filter) for one in wishes_of(decision.query, plan.surface)],
        "answer": answer,
        "history": [tuple(entry) for entry in state.history] if state else [],
        "kept_away": None if away is None else sorted(away),
        "refused": refused,
        "votes": decision.votes,
        "here": decision.here,
        "own_sources": {name: answer._asdict() for name, answer in decision.given.items()},
    }
    blended = decision.blended
    return record if blended is None else record | {"blend": _blend(blended, decision.query.explain)} | _ranker(blended)


def pack(record: Record) -> bytes:
    """The record as bytes, small enough to keep many."""
    return zlib.compress(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY), _QUICKLY)


def unpack(blob: bytes) -> Record:
    """What `pack` packed.

    Raises:
        CorruptBlob: it is something else.
    """
    try:
        record = orjson.loads(zlib.decompress(blob))
    except (zlib.error, ValueError) as error:
        raise CorruptBlob(f"record of a decision: {error}") from error
    if not isinstance(record, dict):
        raise CorruptBlob("record of a decision: no object")
    return record


def events_of(record: Record) -> list[tuple[str, int, int]]:
    """What the person had done, newest first: item, type code, ms."""
    return [(item, kind, at) for item, kind, at in record["history"]]


def kept_away(record: Record) -> dict[str, int]:
    """Items that were not to be shown again, to when the person had to do with them last, ms; 0: the request says so itself."""
    last: dict[str, int] = {}
    for item, _, at in events_of(record):
        last.setdefault(item, at)
    away = last if record["kept_away"] is None else {item: last.get(item, 0) for item in record["kept_away"]}
    return dict.fromkeys(record["query"].get("recent_items", ()), 0) | away


def disliked(record: Record) -> frozenset[str]:
    """Items that the person hid or disliked last."""
    last: dict[str, int] = {}
    for item, kind, _ in events_of(record):
        last.setdefault(item, kind)
    return frozenset(item for item, kind in last.items() if kind in NEGATIVE_TYPES)


def _blend(blended: Blended, explain: bool) -> dict[str, Any]:
    proposal = blended.proposal
    sources = dict(_placed(proposal.names, proposal.places))
    found = {"items": proposal.items, "scores": _rounded(proposal.scores), "sources": sources}
    if proposal.features is None or not explain:
        return found
    return found | {"features": dict(zip(feature_names(proposal.names), map(_rounded, proposal.features), strict=True))}


def _ranker(blended: Blended) -> dict[str, Any]:
    if blended.ranker is None:
        return {}
    found = np.array([blended.scores[item] for item in blended.proposal.items])
    return {"ranker": {"version": blended.ranker, "log_shares": _rounded(np.log(np.maximum(found, 1e-300)))}}


def _placed(names: Sequence[str], places: NDArray[np.int32]) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """What each source proposed; found for all of them in one go."""
    sources, rows = np.divmod(np.flatnonzero(places), places.shape[1])
    told, ends = places[sources, rows], np.cumsum(np.bincount(sources, minlength=len(names))).tolist()
    for name, start, end in zip(names, [0, *ends], ends, strict=False):
        if end > start:
            yield name, {"rows": rows[start:end], "places": told[start:end]}


def _rounded(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.round(values.astype(np.float64), _DIGITS), np.float64)
