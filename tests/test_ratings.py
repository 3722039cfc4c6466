"""Ratings: the same numbers as river gives, bounded, unmoved by being asked, the same across a restart, and never NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from river.optim import SGD
from river.reco import BiasedMF

from stream_workers.models.online.ratings import DEFAULTS, Ratings, RatingSettings

Rating = tuple[str, str, float]


def planted(seed: int, size: int, users: int = 40, items: int = 60) -> list[Rating]:
    """Ratings from 1 to 5 with biases, two tastes, and a little noise."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.choice([-1, 1], users), rng.choice([-1, 1], items)
    generous, good = rng.normal(0, 0.5, users), rng.normal(0, 0.5, items)
    found = []
    for u, i in zip(rng.integers(0, users, size), rng.integers(0, items, size), strict=True):
        value = 3 + generous[u] + good[i] + taste[u] * kind[i] + rng.normal(0, 0.2)
        found.append((f"u{u}", f"i{i}", float(np.clip(value, 1, 5))))
    return found


def taught(stream: list[Rating], settings: RatingSettings = DEFAULTS) -> Ratings:
    ratings = Ratings(settings)
    for rating in stream:
        ratings.learn(*rating)
    return ratings


def copied(state: dict[str, Any]) -> dict[str, Any]:
    return {name: array.copy() for name, array in state.items()}


def same(one: Ratings, other: Ratings) -> None:
    mine, theirs = one.state(), other.state()
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        assert np.array_equal(array, theirs[name]), name


def test_it_is_rivers_model() -> None:
    """Without the latent vectors, whose start is not river's, every prediction is river's."""
    settings = RatingSettings(spread=0.0)
    ratings = Ratings(settings)
    river = BiasedMF(
        n_factors=settings.factors, bias_optimizer=SGD(settings.bias_rate), latent_optimizer=SGD(settings.latent_rate),
        l2_latent=settings.l2_latent,
    )  # fmt: skip
    for side in (river.u_latents, river.i_latents):
        side.default_factory = lambda: np.zeros(settings.factors)
    low, high = math.inf, -math.inf
    for user, item, value in planted(1, 2000):
        predicted = ratings.learn(user, item, value)
        if low <= high:
            assert predicted == pytest.approx(min(max(river.predict_one(user, item), low), high), abs=1e-12)
        river.learn_one(user, item, value)
        low, high = min(low, value), max(high, value)


def test_it_learns_biases_and_tastes() -> None:
    ratings = taught(planted(2, 20_000))
    late = [(value - (ratings.predict(user, item) or 0)) ** 2 for user, item, value in planted(2, 25_000)[20_000:]]
    assert math.sqrt(np.mean(late)) < 0.5  # the spread of the ratings is about 1.2, the noise in them 0.2


def test_the_report_is_progressive() -> None:
    ratings = Ratings()
    errors = []
    for user, item, value in planted(3, 300):
        errors.append(value - (ratings.predict(user, item) or 0.0))
        ratings.learn(user, item, value)
    assert ratings.report() == {
        "mae": pytest.approx(np.mean(np.abs(errors))), "rmse": pytest.approx(math.sqrt(np.mean(np.square(errors)))), "events": 300,
    }  # fmt: skip
    assert Ratings().report() == {"mae": None, "rmse": None, "events": 0}


def test_asking_leaves_no_trace() -> None:
    asked, silent = taught(planted(4, 500)), taught(planted(4, 500))
    for n in range(1000):
        assert asked.predict(f"stranger {n}", "i1") is not None
        assert asked.predict("u1", f"nothing {n}") is not None
    same(asked, silent)
    assert len(asked._model.u_latents) == len(asked._users.rows)


def test_before_the_first_rating_nothing_is_expected() -> None:
    assert Ratings().predict("ann", "Alien") is None


@pytest.mark.parametrize("settings", [RatingSettings(), RatingSettings(users=7, items=9)])
@pytest.mark.parametrize("restart_at", [0, 1, 350])
def test_a_restart_changes_nothing(settings: RatingSettings, restart_at: int) -> None:
    stream = planted(5, 700)
    going, restarted = taught(stream[:restart_at], settings), Ratings(settings)
    restarted.load(copied(going.state()))
    told = [[ratings.learn(*rating) for rating in stream[restart_at:]] for ratings in (going, restarted)]
    assert told[0] == told[1]
    same(going, restarted)
    assert going.report() == restarted.report()


def test_loading_replaces_what_was_there() -> None:
    stream = planted(6, 200)
    restarted = taught(planted(7, 400))
    restarted.load(copied(taught(stream).state()))
    same(restarted, taught(stream))
    assert restarted.predict("u1", "i1") == taught(stream).predict("u1", "i1")


def test_the_state_of_another_model_is_refused_and_changes_nothing() -> None:
    ratings = taught(planted(8, 100))
    before = copied(ratings.state())
    for other in (RatingSettings(factors=3), RatingSettings(users=1000)):
        with pytest.raises(ValueError, match="not the state"):
            (ratings if other.factors == 3 else Ratings(RatingSettings(users=10))).load(taught(planted(8, 100), other).state())
    assert all(np.array_equal(array, before[name]) for name, array in ratings.state().items())


def test_the_quietest_give_up_their_place() -> None:
    settings = RatingSettings(users=3, items=2)
    ratings = taught([("a", "x", 5.0), ("b", "x", 1.0), ("c", "x", 1.0), ("a", "x", 5.0)], settings)
    known = ratings.predict("a", "x")
    ratings.learn("d", "x", 1.0)  # takes the place of b, who was quiet longer than a
    assert set(ratings._users.rows) == {ratings._users.key(user) for user in "acd"}
    assert ratings.predict("b", "x") == ratings.predict("nobody", "x")
    assert known is not None
    for n in range(500):
        ratings.learn(f"u{n}", f"i{n}", 3.0)
    sizes = [len(side.rows) for side in (ratings._users, ratings._items)]
    assert sizes == [len(ratings._model.u_latents), len(ratings._model.i_biases)] == [3, 2]
    assert [len(ratings.state()[name]) for name in ("users_used", "items_weights")] == [3, 2]


def test_hostile_values_leave_numbers() -> None:
    ratings = taught(planted(9, 100))
    before = copied(ratings.state())
    for value in (math.nan, math.inf, -math.inf, 1e300, -1001.0):
        assert ratings.learn("u1", "i1", value) is None
    assert all(np.array_equal(array, before[name]) for name, array in ratings.state().items())
    for n in range(5000):
        ratings.learn("u1", "i1", 1000.0 if n % 7 else -1000.0)
    assert all(np.isfinite(array).all() for array in ratings.state().values())
    predicted = ratings.predict("u1", "i1")
    assert predicted is not None and -1000 <= predicted <= 1000


def test_users_and_items_of_one_name_are_two_things() -> None:
    ratings = taught([("7", "8", 5.0), ("8", "7", 1.0)] * 50)
    assert (ratings.predict("7", "8") or 0) > 4
    assert (ratings.predict("8", "7") or 9) < 2
