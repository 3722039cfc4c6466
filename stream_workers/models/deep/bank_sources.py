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

from feature_store.session_blob import SessionState
from stream_workers.models.deep.published import PublishedModel
from stream_workers.models.deep.recurrent import Recurrent
from stream_workers.models.deep.scorer import F32, I64, Query
from stream_workers.models.deep.searched import Searched, asked
from stream_workers.models.online.columns import WEIGHTS, History, Interactions
from stream_workers.models.online.event_log import EventLog, history_before
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.world import BATCH_MODELS
from stream_workers.models.table_view import TableView

DEPTH: Final = 50  # events of a history that a batch model is told
_AT_ONCE: Final = 256  # people whose scores are worked out together

I32 = NDArray[np.int32]


class BankSources:
    """One set of published models, in the order of the bank's slots; another set is another object.

    Args:
        models: at most as many as the bank has slots for. shadows: at most as many; they are judged, and propose nothing.

    Attributes:
        names: `name@version` of each model. shadows: of each shadow. recurrent: whether any can score from a stored state.
    """

    def __init__(self, models: Sequence[PublishedModel], shadows: Sequence[PublishedModel] = ()) -> None:
        self.models = tuple(models)
        self._asked = (*models, *shadows)
        self.shadows = tuple(shadow.name for shadow in shadows)
        self.names = tuple(model.name for model in models)
        self.recurrent = any(isinstance(model.scorer, Recurrent) for model in models)
        # By the table of the bank's items: when these get new codes, the bank has another table.
        self._rows: WeakKeyDictionary[IdTable, list[I64]] = WeakKeyDictionary()
        self._codes: WeakKeyDictionary[IdTable, tuple[int, list[I64]]] = WeakKeyDictionary()

    @property
    def judged(self) -> tuple[str, ...]:
        """All names, those of the shadows last."""
        return self.names + self.shadows

    def __len__(self) -> int:
        return len(self.models)

    def before(self, log: EventLog, users: I32, items: I32, batch: Interactions, ranked: NDArray[np.bool_], table: IdTable) -> F32:
        """What each model says for each of the R ranked events: float32[R, models, I], in the codes of `table`; where there are
        shadows, these stand behind `BATCH_MODELS` rows, NaN where there is no model.

        Args:
            log: as it is before the batch. users, items: int32[E], codes of the batch. ranked: bool[E].
        """
        rows = self._rows_of(table)
        histories = list(_histories(log, users, items, batch, ranked))
        asked = [batch.users[e] for e in np.flatnonzero(ranked).tolist()]
        moments = batch.timestamps[ranked].tolist()
        places = [*range(len(self.models)), *range(BATCH_MODELS, BATCH_MODELS + len(self.shadows))]
        scores = np.full((len(asked), max(places, default=-1) + 1, len(table)), np.nan, np.float32)
        for start in range(0, len(asked), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            columns = list(zip(asked[part], histories[part], moments[part], strict=True))
            for m, (model, place) in enumerate(zip(self._asked, places, strict=True)):
                scores[part, place] = _scores(model, rows[m], [_query(model, rows[m], *column) for column in columns])
        return scores

    def of(self, history: History, now_ms: int, table: IdTable, session: SessionState | None = None) -> F32:
        """What each model says for one person with this history: float32[models, I].

        Args:
            session: the stored state after exactly this history; the model of that name scores from it, others from the history.
        """
        said = np.empty((len(self.models), len(table)), np.float32)
        for m, (model, row) in enumerate(zip(self.models, self._rows_of(table), strict=False)):
            if session is not None and session.model == model.name and isinstance(model.scorer, Recurrent):
                said[m] = _of_items(model.scorer.score_states(session.state[None]), row)[0]
            else:
                said[m] = _scores(model, row, [_query_of(model, history, now_ms)])[0]
        return said

    def ask(self, history: History, now_ms: int, table: IdTable, session: SessionState | None = None) -> F32 | Searched:
        """The same as `of`, or, where a model has so many items that it searches them, something that finds and scores the few
        that are wanted.
        """
        if not any(model.scorer.searchable for model in self.models):
            return self.of(history, now_ms, table, session)
        models = [asked(model, _query_of(model, history, now_ms), session) for model in self.models]
        rows = self._rows_of(table)[: len(models)]
        return Searched(models, rows, self._codes_of(table))

    def _codes_of(self, table: IdTable) -> list[I64]:
        """Of each model the codes of its rows, -1 where the bank knows no such item."""
        known, codes = self._codes.get(table, (-1, []))
        if known != len(table):
            codes = [_inverse(row, len(model.item_ids)) for model, row in zip(self.models, self._rows_of(table), strict=False)]
            self._codes[table] = (len(table), codes)
        return codes

    def _rows_of(self, table: IdTable) -> list[I64]:
        """Of each model the rows of the bank's items, -1 where it does not know one; those met since are added."""
        whole = table.table if isinstance(table, TableView) else table
        rows = self._rows.setdefault(whole, [np.zeros(0, np.int64) for _ in self._asked])
        for m, model in enumerate(self._asked):
            if len(rows[m]) < len(table):
                added = [model.item_rows.get(item, -1) for item in table.ids[len(rows[m]) : len(table)]]
                rows[m] = np.concatenate((rows[m], np.array(added, np.int64)))
        return [row[: len(table)] for row in rows]


def _scores(model: PublishedModel, rows: I64, queries: Sequence[Query]) -> F32:
    """float32[len(queries), I]."""
    return _of_items(model.scorer.score(queries), rows)


def _of_items(scores: F32, rows: I64) -> F32:
    """float32[B, P] to float32[B, I]: the scores of the bank's items; the lowest for those that the model does not know."""
    found: F32 = np.where(rows >= 0, scores[:, np.maximum(rows, 0)], scores.min(axis=1, keepdims=True))
    return found


def _inverse(rows: I64, count: int) -> I64:
    """Of each of `count` rows the place where it stands, -1 where it does not.

    >>> _inverse(np.array([2, -1, 0]), 3).tolist()
    [2, -1, 0]
    """
    places = np.full(count, -1, np.int64)
    known = np.flatnonzero(rows >= 0)
    places[rows[known]] = known
    return places


def _query_of(model: PublishedModel, history: History, now_ms: int) -> Query:
    """What the model is asked for somebody with this history."""
    newest = np.flatnonzero(WEIGHTS[history.types] > 0)[:DEPTH][::-1]
    taken, times = [history.items[at] for at in newest.tolist()], history.timestamps[newest].tolist()
    return model.query(history.user_id or "", taken, times, now_ms)


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
