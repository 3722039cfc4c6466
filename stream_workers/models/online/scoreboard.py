"""The live scoreboard: how well every model ranked each sampled event before anything learned from it (prequential evaluation).

Of each ranked event the scoreboard is told the target's rank r with every model (1 is best; 0: the item was never seen before, a
miss for all). With one relevant item per event, over the n events of a group:

    recall@K = 1/n sum [0 < r <= K]
    ndcg@10 = 1/n sum [0 < r <= 10] / log2(1 + r)
    mrr@20 = 1/n sum [0 < r <= 20] / r
    coverage = distinct items in the top tens / size of the catalogue seen
    mean_popularity = mean all-time count of the top ten

(Gama, Sebastiao and Rodrigues, On evaluating stream learning algorithms, Machine Learning 2013; Jarvelin and Kekalainen, Cumulated
gain-based evaluation, TOIS 2002.) Groups: total (since the first event), rolling (the last 5,000 ranked events), and four segments
of the total. A user is cold with fewer than 3 events before this one, an item new with fewer than 5 (an item never seen before has
none, so it is new).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.online.columns import Outcome, moved_codes

WINDOW: Final = 5000
COLD_HISTORY: Final = 3
NEW_ITEM: Final = 5
METRICS: Final = ("recall@10", "recall@20", "ndcg@10", "mrr@20", "mean_popularity")
SEGMENTS: Final = ("cold_users", "warm_users", "new_items", "old_items")
DEPTH: Final = 10  # of coverage and mean popularity
MAX_MODELS: Final = 16  # one bit each in `shown`
_REACHABLE: Final = len(SEGMENTS)  # column of `flags` behind the segments

Array = NDArray[Any]
Json = dict[str, Any]


class Scoreboard:
    """Metrics of M models in memory that does not grow with the stream (two bytes per item of the catalogue, a ring per window).

    Args:
        names: the models, in the order of the columns of `Outcome.ranks`; at most 16.
        window: ranked events of the rolling metrics.
    """

    def __init__(self, names: Sequence[str], window: int = WINDOW) -> None:
        if len(names) > MAX_MODELS:
            raise ValueError(f"{len(names)} models: a scoreboard holds at most {MAX_MODELS}")
        models = len(names)
        self.names = tuple(names)
        self._sums = np.zeros((1 + len(SEGMENTS), models, len(METRICS)))
        # ranked events: all, per segment, reachable; then the size of the catalogue seen
        self._counts = np.zeros(len(SEGMENTS) + 3, np.int64)
        self._shown = np.zeros(1024, np.uint16)  # [items], bit m: was in the top ten of model m
        self._distinct = np.zeros(models, np.int64)
        self._values = np.zeros((window, models, len(METRICS)), np.float32)
        self._top = np.full((window, models, DEPTH), -1, np.int32)
        self._flags = np.zeros((window, len(SEGMENTS) + 1), np.bool_)

    @property
    def ranked(self) -> int:
        """Ranked events so far."""
        return int(self._counts[0])

    def add(self, outcome: Outcome) -> None:
        """Count R more ranked events.

        Raises:
            ValueError: they were ranked by other models.
        """
        if tuple(outcome.names) != self.names:
            raise ValueError(f"ranked by {outcome.names}, this is the scoreboard of {self.names}")
        if len(outcome.moved):
            self._move(outcome.moved)
        if len(outcome.events) == 0:
            return
        values, flags = _values(outcome.ranks, outcome.top_popularity), _flags(outcome)
        groups = np.column_stack((np.ones(len(flags), np.bool_), flags[:, : len(SEGMENTS)])).astype(np.float64)
        self._sums += np.tensordot(groups.T, values, 1)
        top = np.ascontiguousarray(outcome.top[:, :, :DEPTH])
        self._cover(top)
        self._keep(values, top, flags)
        self._counts[0] += len(flags)
        self._counts[1:-1] += flags.sum(axis=0)
        self._counts[-1] = outcome.items_seen[-1]

    def report(
        self,
        at: int,
        newest_event_at: int,
        events: int,
        sample: float,
        mode: str,
        drifts: Sequence[Json] = (),
        ratings: Json | None = None,
    ) -> Json:
        """Everything as JSON-able values; a metric over no events is null.

        Args:
            at: the moment of the report, ms.
            newest_event_at: event time of the newest event that was learnt, ms.
            events: how many were learnt. sample: the share of them that is ranked. mode: "A" or "B", of the protocol.
            drifts: as `DriftWatch.events` gives them. ratings: as `Ratings.report` gives them.
        """
        held = self._held()
        return {
            "at": at, "newest_event_at": newest_event_at, "events": events, "ranked": self.ranked, "sample": sample, "mode": mode,
            "models": {name: self._model(m, held) for m, name in enumerate(self.names)},
            "reachable": {
                "total": _share(int(self._counts[1 + _REACHABLE]), self.ranked),
                "rolling": _share(int(self._flags[:held, _REACHABLE].sum()), held),
            },
            "drifts": list(drifts), "ratings": ratings or {"mae": None, "rmse": None, "events": 0},
        }  # fmt: skip

    def state(self) -> dict[str, Array]:
        """Views of every array, axis 0 = rows; rows that were never used are zero (-1 in `top`)."""
        return {
            "names": np.array(self.names, "S32"), "sums": self._sums, "counts": self._counts, "shown": self._shown,
            "distinct": self._distinct, "values": self._values, "top": self._top, "flags": self._flags,
        }  # fmt: skip

    def load(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` gave.

        Raises:
            ValueError: it is the state of other models or of another window; nothing was changed.
        """
        mine = self.state()
        for name, array in mine.items():
            rows = 1 if name == "shown" else 0
            if name not in state or state[name].shape[rows:] != array.shape[rows:]:
                raise ValueError(f"{name}: not the state of a scoreboard of {len(self.names)} models")
        if state["names"].tolist() != mine["names"].tolist():
            raise ValueError(f"the state of {state['names'].tolist()}, this is the scoreboard of {self.names}")
        self._sums, self._counts, self._distinct = (np.array(state[name]) for name in ("sums", "counts", "distinct"))
        self._values, self._top, self._flags = (np.array(state[name]) for name in ("values", "top", "flags"))
        self._shown = np.array(state["shown"], np.uint16)

    def _move(self, moved: Array) -> None:
        """Items were forgotten and the others have new codes: from now on coverage is that of the items that are left."""
        shown = np.zeros_like(self._shown)
        codes = moved[: len(self._shown)]
        shown[codes[codes >= 0]] = self._shown[: len(codes)][codes >= 0]
        self._shown = shown
        self._distinct[:] = [np.count_nonzero(shown & np.uint16(1 << m)) for m in range(len(self.names))]
        self._top = moved_codes(self._top, moved)

    def _held(self) -> int:
        return min(self.ranked, len(self._values))

    def _cover(self, top: Array) -> None:
        """Mark the items of top int32[R, M, 10] as shown."""
        needed = int(top.max(initial=0)) + 1
        if needed > len(self._shown):
            self._shown = np.pad(self._shown, (0, max(needed, 2 * len(self._shown)) - len(self._shown)))
        for m in range(len(self.names)):
            codes, bit = top[:, m].ravel(), np.uint16(1 << m)
            codes = codes[codes >= 0]
            marks = self._shown[codes]
            fresh = codes[marks & bit == 0]
            if len(fresh):
                self._distinct[m] += len(np.unique(fresh))
                self._shown[codes] = marks | bit

    def _keep(self, values: Array, top: Array, flags: Array) -> None:
        """Put the newest into the rings, where the oldest stand."""
        window = len(self._values)
        skipped = max(0, len(flags) - window)
        places = np.arange(self.ranked + skipped, self.ranked + len(flags)) % window
        self._values[places], self._top[places], self._flags[places] = values[skipped:], top[skipped:], flags[skipped:]

    def _model(self, m: int, held: int) -> Json:
        total = self._total(m, 0)
        total["coverage"] = _share(int(self._distinct[m]), int(self._counts[-1]))
        rolling = _metrics(self._values[:held, m].sum(axis=0, dtype=np.float64), held)
        rolling["coverage"] = _share(self._distinct_now(m, held), int(self._counts[-1]))
        return {
            "total": total, "rolling": rolling, "segments": {name: self._total(m, 1 + s) for s, name in enumerate(SEGMENTS)},
        }  # fmt: skip

    def _total(self, m: int, group: int) -> Json:
        return _metrics(self._sums[group, m], int(self._counts[group]))

    def _distinct_now(self, m: int, held: int) -> int:
        marks = np.zeros(len(self._shown) + 1, np.bool_)  # the last place takes the -1
        marks[self._top[:held, m]] = True
        return int(np.count_nonzero(marks[:-1]))


def _values(ranks: Array, popularity: Array) -> Array:
    """What each event adds to each metric of each model: float64[R, M, metrics]."""
    gain = np.where(ranks > 0, 1.0 / np.log2(1.0 + np.maximum(ranks, 1)), 0.0)
    first10, first20 = (ranks > 0) & (ranks <= 10), (ranks > 0) & (ranks <= 20)
    popular = np.nan_to_num(popularity, nan=0.0, posinf=0.0, neginf=0.0)
    return np.stack((first10, first20, gain * first10, first20 / np.maximum(ranks, 1), popular), axis=2, dtype=np.float64)


def _flags(outcome: Outcome) -> Array:
    """Which segments each event is in, and whether its target was among the candidates: bool[R, segments + 1]."""
    cold, new = outcome.history_length < COLD_HISTORY, outcome.item_count < NEW_ITEM
    return np.column_stack((cold, ~cold, new, ~new, outcome.reachable)).astype(np.bool_)


def _metrics(sums: Array, events: int) -> Json:
    values = sums / events if events else [None] * len(METRICS)
    return {name: None if value is None else float(value) for name, value in zip(METRICS, values, strict=True)} | {"events": events}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
