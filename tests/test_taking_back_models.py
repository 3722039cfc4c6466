"""What the learner's models counted of a person is taken back when they are forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.event_log import EventLog
from stream_workers.models.online.ratings import Ratings
from stream_workers.models.online.settings import BankSettings
from tests.online_models import MINUTE, START, learn, mixed, told

EVE = "eve-4711"
ROOMY = BankSettings(max_items=60, max_users=60, max_events=1024, covisit_neighbours=64)
EXACT = ("item_events", "item_first", "item_latest")


def between(batch: Interactions, seed: int, events: int = 40) -> Interactions:
    """The batch with events of Eve's between, some of them undone, and the two items that only she takes."""
    rng = np.random.default_rng(seed)
    rows = [(u, i, int(k), int(t)) for u, i, k, t in zip(batch.users, batch.items, batch.types, batch.timestamps, strict=True)]
    undo = batch.undo.tolist()
    for place in sorted(rng.integers(5, len(rows), events).tolist(), reverse=True):
        item = f"i{rng.integers(1, 42)}" if rng.random() < 0.9 else f"hers{rng.integers(2)}"
        rows.insert(place, (EVE, item, int(rng.choice([0, 1, 2, 6, 7])), rows[place][3] - MINUTE // 2))
        undo.insert(place, bool(rng.random() < 0.1))
    return told(rows, np.flatnonzero(undo).tolist())


def counted(bank: ModelBank) -> dict[str, dict[str, Any]]:
    """By item id: all that is counted of items that anybody took."""
    world, ids, found = bank._world, bank.items.ids, dict[str, dict[str, Any]]()
    for code, item in enumerate(ids):
        if not world.log.item_events[code]:
            continue
        pairs = {
            name: {ids[part.neighbours[code, at]]: float(part.weights[code, at]) for at in range(part.filled[code])}
            for name, part in (("pairs", world.pairs), ("pairs_fast", world.pairs_fast))
        }
        masses = {f"{name}.mass": float(getattr(world, name).mass[code]) for name in pairs}
        exact = {name: getattr(world.log, name)[code].item() for name in EXACT}
        sums = {"popularity": world.popularity.values[:, code].tolist(), "audience": world.audience.values[code].tolist()}
        found[item] = {**sums, **exact, **masses, **pairs}
        found[item]["chain"] = chain(world.log, bank.users.ids, code)
    return found


def chain(log: EventLog, users: list[str], item: int) -> list[tuple[str, float]]:
    """Who took an item and when, newest first."""
    found, e = [], int(log.item_last[item])
    while e >= 0:
        assert log.item[e] == item
        found.append((users[log.user[e]], float(log.time[e])))
        e = int(log.prev_item[e])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_as_if_they_had_never_been_there(seed: int) -> None:
    batch = mixed(300, seed=seed)
    bank, without = ModelBank(ROOMY), ModelBank(ROOMY)
    learn(bank, between(batch, seed))
    learn(without, batch)
    before = counted(bank)
    assert any(item.startswith("hers") for item in before), "some items are hers alone"
    bank.forget(EVE)
    found, expected = counted(bank), counted(without)
    assert found.keys() == expected.keys()
    for item, one in found.items():
        for name in (*EXACT, "chain"):
            assert one[name] == expected[item][name], (item, name)
        for name in ("pairs", "pairs_fast"):
            assert one[name] == pytest.approx(expected[item][name], rel=1e-4), (item, name)
        # float32: where much was added, its rounding is what stays
        for name in ("popularity", "audience", "pairs.mass", "pairs_fast.mass"):
            was, now, wanted = (np.array(counts[item][name]) for counts in (before, found, expected))
            assert (np.abs(now - wanted) <= 1e-6 * was + 1e-5 * wanted).all(), (item, name)
    np.testing.assert_allclose(bank._world.popularity.sums, without._world.popularity.sums, rtol=1e-5)
    for array in bank.state().values():
        assert array.dtype.kind != "f" or not np.isinf(array).any()


def test_items_that_nobody_else_took_are_unknown_again() -> None:
    bank = ModelBank(ROOMY)
    learn(bank, mixed(100))
    bank.describe("hers", ["rare"], "Hers (1999)")
    learn(bank, told([(EVE, item, 1, START + (200 + n) * MINUTE) for n, item in enumerate(["hers", "i1", "hers", "i2"])]))
    code = bank.items.code("hers")
    assert bank.state()["pairs.filled"][code] > 0
    bank.forget(EVE)
    axes = bank._axes.items
    state = bank.state()
    for name in (name for name in axes if not name.startswith(("content.", "popularity."))):
        assert (np.moveaxis(state[name], axes[name].number, 0)[code] == axes[name].empty).all(), name
    assert state["content.year"][code] == 1999, "what the catalogue says of it stays"
    assert not bank._world.popularity.values[:, code].any()
    outcome = learn(bank, told([("u1", "hers", 1, START + 900 * MINUTE)]))
    assert outcome.ranks.max() == 0, "new again"


def test_what_the_log_has_overwritten_stays_counted() -> None:
    small = ROOMY._replace(max_events=64)
    bank = ModelBank(small)
    learn(bank, told([(EVE, "i1", 1, START + n * MINUTE) for n in range(10)]))
    learn(bank, told([(f"u{n % 9}", f"i{n % 7}", 1, START + (10 + n) * MINUTE) for n in range(58)]))
    learn(bank, told([(EVE, "i1", 1, START + 100 * MINUTE)]))
    before = bank.state()["log.item_events"][bank.items.code("i1")]
    bank.forget(EVE)
    after = bank.state()["log.item_events"][bank.items.code("i1")]
    assert before - after == 64 - 58, "five of her first ten and the last one were still there"


def test_ratings_forget_the_weights_of_a_user() -> None:
    ratings, without = Ratings(), Ratings()
    for n in range(200):
        user = f"u{n % 7}"
        for one in (ratings, without):
            one.learn(user, f"i{n % 11}", float(n % 5))
    ratings.forget("u2")
    ratings.forget("never there")
    key = ratings._users.key("u2")
    state = ratings.state()
    assert key not in state["users_hashes"].tolist()
    assert len(ratings._users.rows) == 6
    assert sorted(ratings._users.rows.values()) == list(range(6))
    again = Ratings()
    again.load(state)
    for n in range(7):
        assert again.predict(f"u{n}", "i3") == ratings.predict(f"u{n}", "i3")
        assert (ratings.predict(f"u{n}", "i3") == without.predict(f"u{n}", "i3")) == (n != 2)
    ratings.learn("u2", "i3", 4.0)
    assert len(ratings._users.rows) == 7
