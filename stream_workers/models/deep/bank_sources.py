"""Published batch models as sources of the online blend: their scores, by the codes of the bank's items.

The bank asks before it learns: `before` gives the scores for everybody who is to be ranked, from what they had taken up to then.
A batch model knows only the items that it was trained on; for all others a source has its lowest score, so it never proposes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from stream_workers.models.deep.published import PublishedModel
from stream_workers.models.deep.scorer import F32, I64, Query
from stream_workers.models.online.columns import WEIGHTS, History, Interactions
from stream_workers.models.online.event_log import EventLog, history_before
from stream_workers.models.online.id_table import IdTable

DEPTH: Final = 50  # events of a history that a batch model is told
_AT_ONCE: Final = 256  # people whose scores are worked out together

I32 = NDArray[np.int32]


class BankSources:
    """One set of published models, in the order of the bank's slots; another set is another object.

    Args:
        models: at most as many as the bank has slots for.

    Attributes:
        names: `name@version` of each.
    """

    def __init__(self, models: Sequence[PublishedModel]) -> None:
        self.models = tuple(models)
        self.names = tuple(f"{model.manifest.model}@{model.version}" for model in models)
        # By the table of the bank's items: when these get new codes, the bank has another table.
        self._rows: WeakKeyDictionary[IdTable, list[I64]] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self.models)

    def before(self, log: EventLog, users: I32, items: I32, batch: Interactions, ranked: NDArray[np.bool_], table: IdTable) -> F32:
        """What each model says for each of the R ranked events: float32[R, models, I], in the codes of `table`.

        Args:
            log: as it is before the batch. users, items: int32[E], codes of the batch. ranked: bool[E].
        """
        rows = self._rows_of(table)
        histories = list(_histories(log, users, items, batch, ranked))
        asked = [batch.users[e] for e in np.flatnonzero(ranked).tolist()]
        moments = batch.timestamps[ranked].tolist()
        scores = np.empty((len(asked), len(self.models), len(table)), np.float32)
        for start in range(0, len(asked), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            columns = list(zip(asked[part], histories[part], moments[part], strict=True))
            for m, model in enumerate(self.models):
                scores[part, m] = _scores(model, rows[m], [_query(model, rows[m], *column) for column in columns])
        return scores

    def of(self, history: History, now_ms: int, table: IdTable) -> F32:
        """What each model says for one person with this history: float32[models, I]."""
        rows = self._rows_of(table)
        speaks = WEIGHTS[history.types] > 0
        codes = np.array(table.known(history.items), np.int64)[speaks][:DEPTH][::-1]
        times = history.timestamps[speaks][:DEPTH][::-1]
        asked = (history.user_id or "", (codes, times), now_ms)
        said = [_scores(model, row, [_query(model, row, *asked)])[0] for model, row in zip(self.models, rows, strict=True)]
        return np.array(said, np.float32).reshape(len(self.models), len(table))

    def _rows_of(self, table: IdTable) -> list[I64]:
        """Of each model the rows of the bank's items, -1 where it does not know one; those met since are added."""
        rows = self._rows.setdefault(table, [np.zeros(0, np.int64) for _ in self.models])
        for m, model in enumerate(self.models):
            if len(rows[m]) < len(table):
                added = [model.item_rows.get(item, -1) for item in table.ids[len(rows[m]) :]]
                rows[m] = np.concatenate((rows[m], np.array(added, np.int64)))
        return rows


def _scores(model: PublishedModel, rows: I64, queries: Sequence[Query]) -> F32:
    """float32[len(queries), I]."""
    scores = model.scorer.score(queries)
    found: F32 = np.where(rows >= 0, scores[:, np.maximum(rows, 0)], scores.min(axis=1, keepdims=True))
    return found


def _query(model: PublishedModel, rows: I64, user: str, history: tuple[I64, I64], now_ms: int) -> Query:
    found = rows[history[0]]
    known = found >= 0
    items = found[known]
    return Query(model.user_rows.get(user, -1), items, history[1][known], now_ms, np.ones(len(items), np.float32))


def _histories(log: EventLog, users: I32, items: I32, batch: Interactions, ranked: NDArray[np.bool_]) -> Iterator[tuple[I64, I64]]:
    """Codes and times, oldest first, of what the person of each ranked event had taken before it, in the log or in this batch."""
    codes, times, weights = np.zeros(DEPTH, np.int32), np.zeros(DEPTH), np.zeros(DEPTH, np.float32)
    positive, earlier = batch.weights > 0, dict[int, list[int]]()
    for e, user in enumerate(users.tolist()):
        mine = earlier.setdefault(user, [])
        if ranked[e]:
            newest = int(log.user_last[user]) if user < len(log.user_last) else -1
            found = history_before(log, newest, codes, times, weights)
            liked = np.flatnonzero(weights[:found] > 0)[::-1]
            yield (
                np.concatenate((codes[liked], items[mine])).astype(np.int64)[-DEPTH:],
                np.concatenate((times[liked].astype(np.int64), batch.timestamps[mine]))[-DEPTH:],
            )
        if positive[e]:
            mine.append(e)
