"""The models that learn vectors, one by one: ISGD, BPR, softmax MF, item vectors. See `standalone`."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream_workers.models.online.bpr import learn_bpr
from stream_workers.models.online.capacity import Room
from stream_workers.models.online.dice import U64, draw_negatives, uniform
from stream_workers.models.online.event_log import EventLog, history_before, new_log, oldest
from stream_workers.models.online.factors import FactorRates, Factors, meet, new_factors, score_factors
from stream_workers.models.online.isgd import learn_isgd
from stream_workers.models.online.item_vectors import (
    ItemVectors,
    learn_item_vectors,
    meet_item,
    new_item_vectors,
    score_item_vectors,
    user_vector,
)
from stream_workers.models.online.numeric import F32, I32
from stream_workers.models.online.popularity import Popularity, leading_half_life, learn_popularity, new_popularity, priors
from stream_workers.models.online.softmax_mf import learn_softmax_mf
from stream_workers.models.online.sources import vector_rates
from stream_workers.models.online.standalone import Event, StandaloneModel, T


class _WithPriors(StandaloneModel[T]):
    """What models with negatives and log priors share: popularity and dice."""

    def _parts(self, room: Room) -> tuple[EventLog, Popularity, U64]:
        log = new_log(room.events, room.users, room.items)
        return log, new_popularity(len(self.settings.half_lives), room.items), np.array([self.settings.seed * 2 + 1], np.uint64)

    def _log_prior(self, popularity: Popularity, event: Event) -> float:
        row = leading_half_life(popularity)
        share = popularity.values[row, event.item] / max(popularity.sums[row], 1e-30)
        return float(np.log(0.5 * share + 0.5 / event.items))

    def _log_priors(self, popularity: Popularity, items: int) -> F32:
        out = np.zeros(items, np.float32)
        priors(popularity, leading_half_life(popularity), out)
        return np.log(out)

    def _negatives(self, dice: U64, items: int, item: int, moment: int, out: I32) -> I32:
        n = self._numbers
        return out[: draw_negatives(self.log, moment, items, item, n.negatives_window, n.recent_share, dice, out)]

    def _count(self, popularity: Popularity, event: Event) -> None:
        learn_popularity(popularity, self._half_lives, event.item, event.time, 1.0)


class Factored(NamedTuple):
    """What matrix factorisation needs."""

    log: EventLog
    popularity: Popularity
    dice: U64
    factors: Factors


class SoftmaxFactors(_WithPriors[Factored]):
    """Sampled softmax with log-popularity correction, see `softmax_mf`."""

    name = "softmax_mf"

    def _empty(self, room: Room) -> Factored:
        return Factored(*self._parts(room), new_factors(room.users, room.items, self.settings.mf_size))

    def _learn(self, event: Event) -> float:
        tree, n = self._tree, self._numbers
        self._meet(tree.factors, event)
        prior = self._log_prior(tree.popularity, event)
        room = np.zeros(max(n.mf_negatives, n.bpr_negatives), np.int32)
        negatives = self._negatives(tree.dice, event.items, event.item, int(self.log.total[0]), room)
        self._step(tree.factors, event, prior, negatives)
        self._count(tree.popularity, event)
        return prior

    def _meet(self, factors: Factors, event: Event) -> None:
        seed = self._numbers.seed
        if event.new_item:
            meet(factors.items, event.item, seed + 1)
        if event.new_user:
            meet(factors.users, event.user, seed + 2)

    def _step(self, factors: Factors, event: Event, prior: float, negatives: I32) -> None:
        n, size = self._numbers, self.settings.mf_size
        rates = FactorRates(n.mf_lr, n.mf_l2, n.mf_logq)
        back, logits = np.zeros(size, np.float32), np.zeros(len(negatives) + 1, np.float32)
        learn_softmax_mf(factors, event.user, event.item, prior, negatives, rates, back, logits)

    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        tree = self._tree
        score_factors(tree.factors, user, self._log_priors(tree.popularity, len(out)), self._numbers.mf_logq, out)


class Bpr(SoftmaxFactors):
    """Bayesian personalised ranking, see `bpr`."""

    name = "bpr"

    def _step(self, factors: Factors, event: Event, prior: float, negatives: I32) -> None:
        n = self._numbers
        rates = FactorRates(n.bpr_lr, n.bpr_l2, 0.0)
        learn_bpr(factors, event.user, event.item, negatives[: n.bpr_negatives], rates)

    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        score_factors(self._tree.factors, user, np.zeros_like(out), 0.0, out)


class Isgd(Bpr):
    """Positive feedback alone, see `isgd`."""

    name = "isgd"

    def _step(self, factors: Factors, event: Event, prior: float, negatives: I32) -> None:
        learn_isgd(factors, event.user, event.item, FactorRates(self._numbers.isgd_lr, self._numbers.isgd_l2, 0.0))


class Embedded(NamedTuple):
    """What item vectors need."""

    log: EventLog
    popularity: Popularity
    dice: U64
    vectors: ItemVectors


class RecencyVectors(_WithPriors[Embedded]):
    """A person is the decayed sum of the vectors of what they took last, with replays, see `item_vectors`."""

    name = "item_vectors"

    def _empty(self, room: Room) -> Embedded:
        return Embedded(*self._parts(room), new_item_vectors(room.items, room.users, self.settings.vector_size))

    def _prepare(self) -> None:
        super()._prepare()
        n, size = self._numbers, self.settings.vector_size
        self._rates = vector_rates(n)
        self._h, self._back = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._logits, self._drawn = np.zeros(n.vector_negatives + 1, np.float32), np.zeros(n.vector_negatives, np.int32)
        self._past = np.zeros(n.vector_depth, np.int32), np.zeros(n.vector_depth), np.zeros(n.vector_depth, np.float32)

    def _learn(self, event: Event) -> float:
        tree = self._tree
        if event.new_item:
            meet_item(tree.vectors, event.item, self._numbers.seed)
        prior, depth = self._log_prior(tree.popularity, event), self._numbers.vector_depth
        moment = int(self.log.total[0])
        self._step(event.items, event.user, event.history[:depth], event.liked[:depth], event.item, moment, prior)
        for _ in range(self._numbers.vector_replays):
            self._replay(event.items)
        self._count(tree.popularity, event)
        return prior

    def _step(self, items: int, user: int, history: I32, liked: F32, item: int, moment: int, prior: float) -> None:
        negatives = self._negatives(self._tree.dice, items, item, moment, self._drawn)
        learn_item_vectors(
            self._tree.vectors, user, history, liked, item, prior, negatives, self._rates, self._h, self._back, self._logits
        )

    def _replay(self, items: int) -> None:
        """Learn a past event again, as the bank does."""
        log = self.log
        newest, first = int(log.total[0]), int(oldest(log))
        if newest == first:
            return
        moment = newest - 1 - int(uniform(self._tree.dice) ** 2 * (newest - first))
        at = moment & (len(log.item) - 1)
        if log.weight[at] <= 0 or log.user[at] < 0 or log.item[at] < 0:
            return
        past, times, liked = self._past
        found = history_before(log, log.prev_user[at], past, times, liked)
        self._step(items, int(log.user[at]), past[:found], liked[:found], int(log.item[at]), moment, float(log.log_prior[at]))

    def _fill(self, user: int, history: I32, liked: F32, now: float, out: F32) -> None:
        tree, depth = self._tree, self._numbers.vector_depth
        user_vector(tree.vectors, user, history[:depth], liked[:depth], self._rates, self._h)
        score_item_vectors(tree.vectors, self._h, self._log_priors(tree.popularity, len(out)), self._numbers.vector_logq, out)


FACTOR_MODELS: Final = (Isgd, Bpr, SoftmaxFactors, RecencyVectors)
