"""A decision as it is kept: everything that its list was made of, as JSON, compressed.

    {"request_id", "at": ms, "viewer", "query": what was asked, "surface": its settings, "answer": as it was given,
     "filters": [text], "constraints": [[name, text]], "history": [[item, type, ms]], "kept_away": [item], "refused": {item: rule},
     "blend": {"items": [...], "scores": [...], "sources": {name: {"rows": [...], "places": [...]}}, "features": {name: [...]}},
     "votes": {source: {item: weight}}, "here": {item: share}}

`rows` are places in `items`, which begin at 0; `places` those in the source's own list, which begin at 1.
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
from serving.blended import Blended
from serving.decision import Decision
from serving.plan import filters_of, wishes_of
from stream_workers.models.online.features import FEATURES

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
    }
    return record | ({"blend": _blend(decision.blended)} if decision.blended is not None else {})


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


def _blend(blended: Blended) -> dict[str, Any]:
    proposal = blended.proposal
    sources = dict(_placed(proposal.names, proposal.places))
    found = {"items": proposal.items, "scores": _rounded(proposal.scores), "sources": sources}
    return found if proposal.features is None else found | {"features": _features(proposal.names, proposal.features)}


def _placed(names: Sequence[str], places: NDArray[np.int32]) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """What each source proposed; found for all of them in one go."""
    sources, rows = np.divmod(np.flatnonzero(places), places.shape[1])
    told, ends = places[sources, rows], np.cumsum(np.bincount(sources, minlength=len(names))).tolist()
    for name, start, end in zip(names, [0, *ends], ends, strict=False):
        if end > start:
            yield name, {"rows": rows[start:end], "places": told[start:end]}


def _features(sources: tuple[str, ...], values: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """The features by name, standardised as the network saw them; those of published models by their names."""
    slots = [name for name in FEATURES if name.startswith("place_")]
    named = dict(zip(slots, (f"place_{name}" for name in sources), strict=True))
    named |= {slot.removeprefix("place_"): new.removeprefix("place_") for slot, new in named.items() if "batch_" in slot}
    return {named.get(name, name): _rounded(row) for name, row in zip(FEATURES, values, strict=True)}


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.round(values.astype(np.float64), _DIGITS), np.float64)
