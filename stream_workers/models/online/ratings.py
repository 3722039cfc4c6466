"""Explicit ratings, the second opinion: river's biased matrix factorisation, judged on every rating before it learns from it.

    rating(u, i) = mean + b_u + b_i + <p_u, q_i>,    after each rating r, e = rating(u, i) - r:
    b_u -= eta (2 e + l b_u),  p_u -= eta (2 e q_i + l p_u),  likewise b_i and q_i

(Paterek, Improving Regularized Singular Value Decomposition, KDD Cup 2007; `river.reco.BiasedMF`.) river keeps its weights in dicts
that grow with every user and item that is asked for, and draws initial vectors from a generator that cannot be stored. Here
- the weights of the latest 100,000 users and 50,000 items to rate or be rated live in arrays as well: a newcomer takes the place of
  the one that was quiet longest, and river forgets what is not in the arrays;
- an initial vector is a function of the id and the seed alone, so a restart or another order of arrival draws the same one;
- a prediction for somebody unknown leaves no trace: what is unknown adds nothing to the sum.
Ids are kept as 64-bit hashes. river takes a second to import: this module is for the learner, not for the API.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river.optim import SGD
from river.reco import BiasedMF
from river.stats import Mean

Array = NDArray[Any]
LARGEST: Final = 1000.0
_FIRST_ROWS: Final = 64


class RatingSettings(NamedTuple):
    """How ratings are learnt; the values are river's for MovieLens-100K.

    Attributes:
        spread: standard deviation of the initial vectors.
        largest_gradient, largest_weight: bounds, far outside what ratings from 1 to 10 need, that keep hostile values from
            driving the weights to infinity.
        users, items: how many are remembered.
    """

    factors: int = 10
    bias_rate: float = 0.025
    latent_rate: float = 0.05
    l2_bias: float = 0.0
    l2_latent: float = 0.0
    spread: float = 0.1
    largest_gradient: float = 20.0
    largest_weight: float = 10.0
    users: int = 100_000
    items: int = 50_000
    seed: int = 7


DEFAULTS: Final = RatingSettings()


class _Side:
    """The weights of the users, or of the items: rows of arrays, beside the same weights in river's dicts.

    Attributes:
        rows: hash of the id to its row, the quietest first.
        hashes: uint64[rows]. used: int64[rows], when the row was last used; 0: free.
        weights: float64[rows, 1 + factors], bias first.
    """

    def __init__(
        self, capacity: int, biases: dict[int, float], latents: dict[int, Array], settings: RatingSettings, salt: bytes
    ) -> None:
        self._capacity, self._settings, self._salt = capacity, settings, salt
        self.biases, self.latents = biases, latents
        self.rows: dict[int, int] = {}
        first = min(_FIRST_ROWS, capacity)
        self.hashes, self.used = np.zeros(first, np.uint64), np.zeros(first, np.int64)
        self.weights = np.zeros((first, 1 + settings.factors))

    def key(self, identifier: str) -> int:
        """64-bit hash of an id."""
        return int.from_bytes(blake2b(identifier.encode(), digest_size=8, salt=self._salt).digest(), "little")

    def admit(self, key: int) -> None:
        """Make sure of a row and of weights in river's dicts."""
        if key in self.rows:
            return
        if len(self.rows) == self._capacity:
            quietest = next(iter(self.rows))
            row = self.rows.pop(quietest)
            del self.biases[quietest], self.latents[quietest]
        else:
            row = len(self.rows)
            self._grow(row + 1)
        self.rows[key] = row
        self.biases[key] = 0.0
        self.latents[key] = _initial(key, self._settings)

    def store(self, key: int, moment: int) -> None:
        """Copy what river learnt into the row, within bounds, and make it the one that was used last."""
        row = self.rows.pop(key)
        self.rows[key] = row
        largest, weights = self._settings.largest_weight, self.weights[row]
        weights[0], weights[1:] = self.biases[key], self.latents[key]
        if np.abs(weights).max() > largest:
            np.clip(weights, -largest, largest, out=weights)
            self.biases[key], self.latents[key] = float(weights[0]), weights[1:].copy()
        self.hashes[row], self.used[row] = key, moment

    def forget(self, key: int) -> None:
        """Give a row and its weights back; the last row takes its place, so that rows stay dense."""
        row = self.rows.pop(key, None)
        if row is None:
            return
        del self.biases[key], self.latents[key]
        last = len(self.rows)
        if row != last:
            moved = int(self.hashes[last])
            self.rows[moved] = row  # its place in the order of use stays
            self.hashes[row], self.used[row], self.weights[row] = self.hashes[last], self.used[last], self.weights[last]
        self.hashes[last], self.used[last], self.weights[last] = 0, 0, 0.0

    def restore(self, hashes: Array, used: Array, weights: Array) -> None:
        """Everything from arrays, also river's dicts."""
        self.hashes, self.used, self.weights = hashes.astype(np.uint64), used.astype(np.int64), weights.astype(np.float64)
        order = np.argsort(used, kind="stable")
        order = order[used[order] > 0]
        self.rows = dict(zip(self.hashes[order].tolist(), order.tolist(), strict=True))
        self.biases.clear()
        self.latents.clear()
        for key, row in self.rows.items():
            self.biases[key], self.latents[key] = float(weights[row, 0]), self.weights[row, 1:].copy()

    def _grow(self, needed: int) -> None:
        if needed <= len(self.used):
            return
        extra = min(self._capacity, 2 * len(self.used)) - len(self.used)
        self.hashes, self.used = np.pad(self.hashes, (0, extra)), np.pad(self.used, (0, extra))
        self.weights = np.pad(self.weights, ((0, extra), (0, 0)))


class Ratings:
    """Predicts ratings, and says how well.

    >>> ratings = Ratings()
    >>> for _ in range(100):
    ...     _ = ratings.learn("ann", "Alien", 5.0), ratings.learn("ann", "Shrek", 1.0)
    >>> ratings.predict("ann", "Alien") > 4 > 2 > ratings.predict("ann", "Shrek")
    True
    """

    def __init__(self, settings: RatingSettings = DEFAULTS) -> None:
        self.settings = settings
        self._model = BiasedMF(
            n_factors=settings.factors, bias_optimizer=SGD(settings.bias_rate), latent_optimizer=SGD(settings.latent_rate),
            l2_bias=settings.l2_bias, l2_latent=settings.l2_latent, clip_gradient=settings.largest_gradient,
        )  # fmt: skip
        model = self._model
        self._users = _Side(settings.users, model.u_biases, model.u_latents, settings, b"user")
        self._items = _Side(settings.items, model.i_biases, model.i_latents, settings, b"item")
        self._absolute = self._squared = 0.0  # sums of the errors so far
        self._lowest, self._highest = math.inf, -math.inf
        self.events = 0

    def predict(self, user_id: str, item_id: str) -> float | None:
        """The rating to expect, within the range of those seen; None before the first."""
        if not self.events:
            return None
        return self._predict(self._users.key(user_id), self._items.key(item_id))

    def learn(self, user_id: str, item_id: str, value: float) -> float | None:
        """Predict a rating, count the error, then learn it; returns the prediction.

        A value that is not finite or beyond +-1,000 is no rating on any scale that people rate on: it is left out.
        """
        if not abs(value) <= LARGEST:
            return None
        user, item = self._users.key(user_id), self._items.key(item_id)
        predicted = self._predict(user, item) if self.events else None
        error = value - (predicted or 0.0)
        self._absolute, self._squared = self._absolute + abs(error), self._squared + error * error
        self._lowest, self._highest = min(self._lowest, value), max(self._highest, value)
        self.events += 1
        self._users.admit(user)
        self._items.admit(item)
        self._model.learn_one(user, item, value)
        self._users.store(user, self.events)
        self._items.store(item, self.events)
        return predicted

    def forget(self, user_id: str) -> None:
        """Remove a user's weights; what items' weights learnt from their ratings stays."""
        self._users.forget(self._users.key(user_id))

    def report(self) -> dict[str, float | int | None]:
        """Progressive mean absolute and root mean square error over all ratings; the first is predicted as 0, as river does."""
        if not self.events:
            return {"mae": None, "rmse": None, "events": 0}
        return {"mae": self._absolute / self.events, "rmse": math.sqrt(self._squared / self.events), "events": self.events}

    def state(self) -> dict[str, Array]:
        """Views of every array, axis 0 = rows; free rows are zero."""
        mean = self._model.global_mean
        sums = [mean.n, mean.get(), self._absolute, self._squared, self._lowest, self._highest, self.events]
        sides = (("users", self._users), ("items", self._items))
        arrays = {f"{name}_{part}": getattr(side, part) for name, side in sides for part in ("hashes", "used", "weights")}
        return {"sums": np.array(sums, np.float64), **arrays}

    def load(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` gave; learning goes on as if it had never stopped.

        Raises:
            ValueError: it is the state of a model with other factors, or of more users or items than fit; nothing was changed.
        """
        width = 1 + self.settings.factors
        for name, most in (("users", self.settings.users), ("items", self.settings.items)):
            if state[f"{name}_weights"].shape[1:] != (width,) or np.count_nonzero(state[f"{name}_used"]) > most:
                raise ValueError(f"{name}: not the state of a rating model with {self.settings}")
        n, mean, self._absolute, self._squared, self._lowest, self._highest, events = state["sums"].tolist()
        self.events = int(events)
        self._model.global_mean = Mean._from_state(n, mean)
        for name, side in (("users", self._users), ("items", self._items)):
            side.restore(*(state[f"{name}_{part}"] for part in ("hashes", "used", "weights")))

    def _predict(self, user: int, item: int) -> float:
        """From river's weights, but without its side effect: asking river itself would add whoever is unknown."""
        users, items = self._users, self._items
        expected: float = self._model.global_mean.get() + users.biases.get(user, 0.0) + items.biases.get(item, 0.0)
        if user in users.rows and item in items.rows:
            expected += float(users.latents[user] @ items.latents[item])
        return min(max(expected, self._lowest), self._highest)


def _initial(key: int, settings: RatingSettings) -> Array:
    """float64[factors] from N(0, spread^2); the same for the same id, wherever and whenever."""
    rng = np.random.default_rng((settings.seed, key))
    return rng.normal(0.0, settings.spread, settings.factors)
