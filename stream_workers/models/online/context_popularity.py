"""What is popular where: decayed counts by device, country, hour of the day and category, in bounded memory.

    pop_H(j | c, t) = sum over events e of item j in context c: weight_e * 2^(-(t - t_e) / H)
    score(j | contexts) = mean over contexts c: pop_slow(j | c) / (mass(c) + 10)          mass(c): sum over all items
    velocity(j | c) = (pop_fast / H_fast) / (pop_slow / H_slow)                           1: steady, above: rising

A score is the share of a context's events that are about an item, with ten events that are about nothing added, so that a context
of which little is known says little. Counts are kept as forward decay (`numeric.grown`). Each context counts `WIDTH` items by
space-saving (Metwally, Agrawal and El Abbadi, Efficient computation of frequent and top-k elements in data streams, 2005; with
decay: Cormode, Korn and Tirthapura, 2008): a newcomer takes the place of the item with the smallest count and inherits that count
as its possible error. Whatever has more than 1 / WIDTH of a context's mass is there; only what is certain (count - error) is told.

A context is "name=value": those of the event, "hour=13" (UTC, by event time) and "category=..." of what the catalogue said. There
are `CONTEXTS` at most: a newcomer takes the place of the lightest. Memory: 0.5 MB, and 256 bytes for each item that
any context counts, 9 MB at most; beside it the categories of the last 200,000 items that were described.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.horizons import DAY_MS, HOUR_MS
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.context_counts import FAST, SLOW, Counts, learn_counts, new_counts
from stream_workers.models.online.numeric import F32

PREFIX: Final = "context."
"""Names of these arrays among those that the learner stores begin with this."""
CONTEXTS: Final = 512
WIDTH: Final = 64
HALF_LIVES_MS: Final = (6.0 * HOUR_MS, 4.0 * DAY_MS)  # fast, slow
PRIOR_EVENTS: Final = 10.0
_CHUNK: Final = 1024
_OF_EVENT: Final = 4  # contexts of an event that are looked at
_OF_ITEM: Final = 3  # categories of an item likewise
_DESCRIBED: Final = 200_000
_ID_BYTES: Final = 256
_HOURS: Final = tuple((f"hour={hour}",) for hour in range(24))


class ContextPopularity:
    """Learns batches, answers questions, keeps its state in arrays.

    >>> popular = ContextPopularity()
    >>> events = Interactions.taken(["ann", "bob"], ["Alien", "Shrek"], np.array([0, 1]))
    >>> popular.learn_many(events._replace(contexts=[("device=tv",), ("device=phone",)]))
    >>> popular.candidates(["device=tv"], now_ms=2, k=10)[0]
    ['Alien']
    """

    def __init__(self) -> None:
        self._counts = new_counts(CONTEXTS, WIDTH)
        self._ids = np.zeros(_CHUNK, f"S{_ID_BYTES}")
        self._uses = np.zeros(_CHUNK, np.int32)
        self._context: dict[int, int] = {}
        self._item: dict[str, int] = {}
        self._categories: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def describe(self, item_id: str, categories: Sequence[str] = ()) -> None:
        """Take over the categories of an item; kept of the last 200,000 that were described, and not part of the state."""
        self._categories.pop(item_id, None)
        self._categories[item_id] = tuple(map(_of_category, categories[:_OF_ITEM]))
        if len(self._categories) > _DESCRIBED:
            self._categories.popitem(last=False)

    def learn_many(self, batch: Interactions) -> None:
        """Count what speaks for an item; the rest (dislikes, what is taken back) is passed over."""
        for start in range(0, len(batch.users), _CHUNK):
            self._learn_chunk(batch.part(start, start + _CHUNK))

    def candidates(self, contexts: Sequence[str], now_ms: float, k: int) -> tuple[list[str], F32]:
        """What is popular in these contexts together.

        Args:
            contexts: "name=value"; unknown ones count as contexts of nothing. now_ms: the moment of the question.

        Returns:
            ids, best first, and scores, float32[<= k], each in (0, 1].
        """
        found: dict[int, float] = {}
        moment = max(now_ms, self._counts.newest[0])
        for row in self._rows_of(contexts):
            certain = (self._counts.slow[row] - self._counts.error[row]).astype(np.float64)
            shares = certain / self._unit(moment, SLOW) / (self.mass(row, moment) + PRIOR_EVENTS) / len(contexts)
            for item, share in zip(self._counts.items[row].tolist(), shares.tolist(), strict=True):
                if share > 0:
                    found[item - 1] = found.get(item - 1, 0.0) + share
        best = sorted(found, key=lambda item: (-found[item], item))[:k]
        return [self._ids[item].decode() for item in best], np.array([found[item] for item in best], np.float32)

    def velocities(self, contexts: Sequence[str], items: Sequence[str], now_ms: float) -> F32:
        """How much faster than lately each item is taken in these contexts together: float32[n]; 0 where none counts it."""
        moment = max(now_ms, self._counts.newest[0])
        rates: dict[str, tuple[float, float]] = {}
        for row in self._rows_of(contexts):
            for place, item in enumerate(self._counts.items[row].tolist()):
                if item:
                    name = self._ids[item - 1].decode()
                    fast, slow = rates.get(name, (0.0, 0.0))
                    rates[name] = fast + self._rate(row, place, moment, FAST), slow + self._rate(row, place, moment, SLOW)
        known = (rates.get(item, (0.0, 0.0)) for item in items)
        return np.array([fast / slow if slow > 0 else 0.0 for fast, slow in known], np.float32)

    def events(self, contexts: Sequence[str], now_ms: float) -> float:
        """Decayed count of the events in these contexts, the sum over them."""
        moment = max(now_ms, self._counts.newest[0])
        return sum(self.mass(row, moment) for row in self._rows_of(contexts))

    def mass(self, row: int, moment: float) -> float:
        """Decayed count of the events in the context of a row."""
        return float(self._counts.mass[row]) / self._unit(moment, SLOW)

    def state(self) -> dict[str, NDArray[Any]]:
        """Views of every array, axis 0 = rows; free rows are zero."""
        return {**self._counts._asdict(), "ids": self._ids}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave, copied; what is described stays.

        Raises:
            ValueError: an array is missing or of another kind; nothing was changed.
        """
        for name, mine in self.state().items():
            given = state.get(name)
            free = name == "ids"
            if given is None or given.dtype != mine.dtype or given.shape[free:] != mine.shape[free:]:
                raise ValueError(f"{name}: not the state of popularity by context")
        self._counts = Counts(**{name: np.array(state[name]) for name in Counts._fields})
        self._ids = np.array(state["ids"])
        held = self._counts.items[self._counts.items > 0] - 1
        if len(held) and held.max() >= len(self._ids):
            raise ValueError("items: a row without an id")
        self._uses = np.bincount(held, minlength=len(self._ids)).astype(np.int32)
        self._context = {key: row for row, key in enumerate(self._counts.keys.tolist()) if key}
        self._item = {self._ids[row].decode(): row for row in np.flatnonzero(self._uses).tolist()}

    def _learn_chunk(self, batch: Interactions) -> None:
        weights = batch.weights
        chosen = np.flatnonzero(weights > 0).tolist()
        used: set[int] = set()
        admitted: dict[tuple[str, ...], list[int]] = {}
        hours = (batch.timestamps // HOUR_MS % 24).tolist()
        contexts: list[int] = []
        ends = []
        for e in chosen:
            for names in (batch.contexts[e][:_OF_EVENT], _HOURS[hours[e]], self._categories.get(batch.items[e], ())):
                rows = admitted.get(names)
                if rows is None:
                    rows = admitted[names] = self._admitted(names, used)
                contexts += rows
            ends.append(len(contexts))
        items = [batch.items[e] for e in chosen]
        places = self._rows_for(items)
        learn_counts(
            self._counts, np.array(HALF_LIVES_MS), np.array(ends, np.int32), np.array(contexts, np.int32),
            np.array([places[item] for item in items], np.int32), batch.timestamps[chosen].astype(np.float64), weights[chosen],
            self._uses,
        )  # fmt: skip
        self._keep(places)

    def _admitted(self, names: Sequence[str], used: set[int]) -> list[int]:
        """The rows of contexts; newcomers get one that this chunk has not used, if there is a light one."""
        rows = []
        for name in names:
            key = _key(name)
            row = self._context.get(key)
            if row is None:
                row = self._new_context(key, used)
            if row >= 0:
                used.add(row)
                rows.append(row)
        return rows

    def _new_context(self, key: int, used: set[int]) -> int:
        counts, row = self._counts, len(self._context)
        if row == CONTEXTS:
            mass = counts.mass.copy()
            mass[list(used)] = np.inf
            row = int(mass.argmin())
            if mass[row] > counts.mass.mean():  # a flood of new names takes the places of light contexts only
                return -1
            del self._context[int(counts.keys[row])]
            held = counts.items[row]
            np.subtract.at(self._uses, held[held > 0] - 1, 1)
            for array in (counts.items, counts.fast, counts.slow, counts.error):
                array[row] = 0
            counts.mass[row] = 0
        counts.keys[row] = key
        self._context[key] = row
        return row

    def _rows_for(self, items: Sequence[str]) -> dict[str, int]:
        """A row of ids for each item; new ones are free until `_keep`."""
        rows = {item: self._item.get(item, -1) for item in items}
        new = [item for item, row in rows.items() if row < 0]
        taken = np.zeros(len(self._uses), np.bool_)
        taken[list(self._item.values())] = True
        free = np.flatnonzero(~taken)
        while len(free) < len(new):
            size = len(self._ids)
            self._ids = np.concatenate((self._ids, np.zeros_like(self._ids)))
            self._uses = np.concatenate((self._uses, np.zeros_like(self._uses)))
            free = np.concatenate((free, np.arange(size, 2 * size)))
        rows.update(zip(new, free.tolist(), strict=False))
        return rows

    def _keep(self, rows: Mapping[str, int]) -> None:
        """Note the ids that places hold now, and let go of those that none does any more."""
        for item, row in rows.items():
            if self._uses[row] and item not in self._item:
                self._item[item] = row
                self._ids[row] = item.encode()
        gone = [item for item, row in self._item.items() if not self._uses[row]]
        for item in gone:
            self._ids[self._item.pop(item)] = b""

    def _rows_of(self, contexts: Sequence[str]) -> list[int]:
        return [row for context in dict.fromkeys(contexts) if (row := self._context.get(_key(context))) is not None]

    def _unit(self, moment: float, kind: int) -> float:
        """What an event would add at a moment."""
        exponent = (moment - self._counts.landmarks[kind]) / HALF_LIVES_MS[kind]
        return 1.0 if np.isnan(exponent) else float(2.0 ** min(max(exponent, -1000.0), 1000.0))

    def _rate(self, row: int, place: int, moment: float, kind: int) -> float:
        counts = (self._counts.fast, self._counts.slow)[kind][row, place] - (self._counts.error[row, place] if kind else 0.0)
        return float(counts) / self._unit(moment, kind) / HALF_LIVES_MS[kind]


@lru_cache(maxsize=8192)  # so that items share the texts
def _of_category(name: str) -> str:
    return f"category={name}"


@lru_cache(maxsize=8192)
def _key(name: str) -> int:
    """64-bit hash of a context's name, never 0."""
    return int.from_bytes(blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest(), "little") or 1
