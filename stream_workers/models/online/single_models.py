"""The models that count and remember, one by one: popularity, co-visitation, session-kNN. See `standalone`."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.capacity import Room
from stream_workers.models.online.co_visitation import CoVisitation, learn_co_visitation, new_co_visitation, score_co_visitation
from stream_workers.models.online.event_log import EventLog, mark_taken, new_log
from stream_workers.models.online.numeric import F32, I32
from stream_workers.models.online.popularity import (
    Popularity,
    judge_half_lives,
    leading_half_life,
    learn_popularity,
    new_popularity,
    units_at,
)
from stream_workers.models.online.selection import rank_of
from stream_workers.models.online.session_knn import KnnScratch, new_knn_scratch, score_session_knn
from stream_workers.models.online.standalone import Event, StandaloneModel


class Counted(NamedTuple):
    """What popularity needs."""

    log: EventLog
    popularity: Popularity


class AllTimePopularity(StandaloneModel[Counted]):
    """How many events an item ever had, see `popularity`."""

    name = "popularity_all_time"

    def _empty(self, room: Room) -> Counted:
        return Counted(new_log(room.events, room.users, room.items), new_popularity(len(self.settings.half_lives), room.items))

    def _learn(self, event: Event) -> float:
        learn_popularity(self._tree.popularity, self._half_lives, event.item, event.time, 1.0)
        return 0.0

    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        out[:] = self._tree.popularity.values[-1, : len(out)]


class DecayedPopularity(AllTimePopularity):
    """The decayed count at the half-life that has been right most, judged by every event before it is learnt, see `popularity`."""

    name = "popularity_decayed"

    def _learn(self, event: Event) -> float:
        popularity = self._tree.popularity
        if not event.new_item:
            self._judge(popularity, event)
        return super()._learn(event)

    def _judge(self, popularity: Popularity, event: Event) -> None:
        person, numbers, log = self._person, self._numbers, self.log
        person.stamp[0] += 1
        taken = mark_taken(log, event.user, numbers.taken_limit, numbers.repeats, person.stamp[0], person.marks, person.taken)
        if person.marks[event.item] != person.stamp[0]:
            rows = [rank_of(row[: event.items], event.item, person.taken, taken) for row in popularity.values]
            judge_half_lives(popularity, np.array(rows, np.int64))

    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        popularity = self._tree.popularity
        units_at(popularity, self._half_lives, max(now, popularity.newest[0]))
        row = leading_half_life(popularity)
        out[:] = popularity.values[row, : len(out)] / popularity.unit[row]


class Paired(NamedTuple):
    """What co-visitation needs."""

    log: EventLog
    pairs: CoVisitation


class CoVisited(StandaloneModel[Paired]):
    """What is taken after what, with the long half-life, see `co_visitation`."""

    name = "co_visitation"

    def _empty(self, room: Room) -> Paired:
        return Paired(new_log(room.events, room.users, room.items), new_co_visitation(room.items, self.settings.covisit_neighbours))

    def _learn(self, event: Event) -> float:
        n = self._numbers
        learn_co_visitation(
            self._tree.pairs, event.history, event.liked, event.item, event.time, n.covisit_half_life, n.covisit_depth,
            n.covisit_decay, n.covisit_back,
        )  # fmt: skip
        return 0.0

    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        n, pairs = self._numbers, self._tree.pairs
        exponent = (now - float(np.nan_to_num(pairs.landmarks[0], nan=now))) / n.covisit_half_life
        score_co_visitation(
            pairs, history, liked, 2.0 ** min(max(exponent, 0.0), 1000.0), n.covisit_depth, n.covisit_decay, n.covisit_power_from,
            n.covisit_power_to, out,
        )  # fmt: skip


class Logged(NamedTuple):
    """What session-kNN needs: nothing but the log."""

    log: EventLog


class SessionKnn(StandaloneModel[Logged]):
    """What people who took the same lately took around it, see `session_knn`."""

    name = "session_knn"
    _scratch: KnnScratch

    def _empty(self, room: Room) -> Logged:
        return Logged(new_log(room.events, room.users, room.items))

    def _prepare(self) -> None:
        super()._prepare()
        n = self._numbers
        self._scratch = new_knn_scratch(len(self.log.user_last), n.knn_depth, n.knn_occurrences, n.knn_window)

    def _learn(self, event: Event) -> float:
        return 0.0

    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        n = self._numbers
        score_session_knn(
            self.log, self._scratch, user, history, liked, now, n.knn_depth, n.knn_occurrences, n.knn_neighbours, n.knn_window,
            n.knn_decay, n.knn_tau, n.knn_distance, n.knn_back, out,
        )  # fmt: skip


COUNTING_MODELS: Final = (AllTimePopularity, DecayedPopularity, CoVisited, SessionKnn)
