"""Bounds and forgetting: what stays keeps all that was learnt of it under its new code, what goes leaves nothing behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_workers.models.online.bank import OWN_MODELS, ModelBank
from stream_workers.models.online.compaction import keep_items, most_valuable, moves, row_axes
from stream_workers.models.online.features import FEATURES
from stream_workers.models.online.scoreboard import Scoreboard
from stream_workers.models.online.world import new_world
from tests.online_models import MINUTE, SMALL, START, clicks, differences, full_bank, learn, mixed


def rows_by_id(bank: ModelBank) -> dict[str, dict[str, Any]]:
    """What every item and user has in every array, by id: codes are written as ids."""
    state, found = bank.state(), dict[str, dict[str, Any]]()
    axes = row_axes(lambda items, users: new_world(bank.settings, items, users, 1, len(FEATURES)))
    arrays = {f"popularity.values.{h}": "popularity.values" for h in range(len(bank.settings.half_lives) + 1)}
    for name, array in state.items():
        for table, known in ((bank.items, axes.items), (bank.users, axes.users)):
            if arrays.get(name, name) in known:
                for code, identifier in enumerate(table.ids):
                    row = array[code]
                    if name.endswith(".neighbours"):
                        filled = state[name.replace("neighbours", "filled")][code]
                        row = [bank.items.ids[other] for other in row[:filled].tolist()]
                    found.setdefault(identifier, {})[name] = row.tolist() if isinstance(row, np.ndarray | np.generic) else row
    return found


def test_what_is_kept_keeps_everything_under_its_new_code() -> None:
    bank = full_bank()
    before = rows_by_id(bank)
    old = [bank.items.ids[c] for c in bank.state()["log.item"][:190].tolist()]
    kept = most_valuable([bank.state()["popularity.values.3"][:40]], 40)
    moved = keep_items(bank._world, bank._axes, kept, 40)
    bank.items = bank.items.kept(kept.tolist())
    after = rows_by_id(bank)
    left = {f"i{code}" for code in kept.tolist()}
    assert len(left) == 32
    assert {one for one in after if one.startswith("i")} == left
    for one in left:
        for name, row in before[one].items():
            if name.endswith(".weights") or name.endswith(".filled"):
                continue
            expected = [other for other in row if other in left] if name.endswith(".neighbours") else row
            assert after[one][name] == expected, (one, name)
    assert sum(len(after[one]["pairs.neighbours"]) for one in left) > 100
    events = bank.state()["log.item"][:190].tolist()
    assert [bank.items.ids[c] if c >= 0 else None for c in events] == [one if one in left else None for one in old]
    assert moved.tolist() == [sorted(kept.tolist()).index(c) if c in kept else -1 for c in range(40)]


def test_neighbours_keep_their_weights_and_gaps_are_closed() -> None:
    bank = full_bank()
    state = bank.state()
    weights = {
        (a, b): float(state["pairs.weights"][a, place])
        for a in range(40) for place, b in enumerate(state["pairs.neighbours"][a, : state["pairs.filled"][a]].tolist())
    }  # fmt: skip
    kept = np.arange(0, 40, 2)
    moved = keep_items(bank._world, bank._axes, kept, 40)
    state = bank.state()
    found = {
        (int(kept[a]), int(kept[b])): float(state["pairs.weights"][a, place])
        for a in range(20) for place, b in enumerate(state["pairs.neighbours"][a, : state["pairs.filled"][a]].tolist())
    }  # fmt: skip
    assert found == {pair: weight for pair, weight in weights.items() if moved[pair[0]] >= 0 and moved[pair[1]] >= 0}
    for name, (axis, empty) in bank._axes.items.items():
        group, _, part = name.partition(".")
        rows = np.moveaxis(getattr(getattr(bank._world, group), part), axis, 0)
        assert (rows[20:] == empty).all(), f"{name}: a row that nobody has is not empty"
    for row in range(len(state["pairs.filled"])):
        assert not state["pairs.neighbours"][row, state["pairs.filled"][row] :].any()
        assert not state["pairs.weights"][row, state["pairs.filled"][row] :].any()
    assert state["popularity.values.3"].sum() == pytest.approx(bank._world.popularity.sums[3])


def test_every_array_that_may_hold_codes_is_known_to_forgetting() -> None:
    """A new array of integers with a row per item or event: does it hold codes? Then teach `compaction`, and this list."""
    world = new_world(SMALL, 3, 5, 8, len(FEATURES))
    names = {
        f"{group}.{name}" for group, part in world._asdict().items() if hasattr(part, "_asdict")
        for name, array in part._asdict().items() if array.dtype.kind == "i" and len(array) > 1
    }  # fmt: skip
    codes = {"log.item", "log.user", "pairs.neighbours", "pairs_fast.neighbours"}
    numbers_of_events = {"log.prev_user", "log.next_user", "log.prev_item", "log.user_last", "log.item_last"}
    others = {"log.user_events", "log.item_events", "pairs.filled", "pairs_fast.filled"}
    content = {"content.categories", "content.words", "content.items_with"}
    assert names == codes | numbers_of_events | others | content


def test_rows_are_found_by_comparing_sizes() -> None:
    axes = row_axes(lambda items, users: new_world(SMALL, items, users, 1, len(FEATURES)))
    assert axes.items["popularity.values"].number == 1
    assert axes.items["content.categories"].empty.tolist() == [-1] * 8
    assert axes.users["log.user_last"].empty == -1
    assert not axes.items.keys() & axes.users.keys()
    assert "blend.theta" not in axes.items


def test_what_is_worth_most_stays() -> None:
    popular, latest = np.array([3.0, 1.0, 1.0, 0.0, 2.0]), np.array([0.0, 5.0, 6.0, 9.0, 1.0])
    assert most_valuable([popular, latest], 5).tolist() == [0, 1, 2, 4]
    assert most_valuable([popular, latest], 4).tolist() == [0, 2, 4], "of equals the later"
    assert most_valuable([np.zeros(5)], 4).tolist() == [2, 3, 4], "of those the newer code"
    assert moves(np.array([0, 2]), 4).tolist() == [0, -1, 1, -1]


def test_the_least_popular_items_and_the_quietest_users_make_room() -> None:
    bank = ModelBank(SMALL)
    learn(bank, clicks(["fan"] * 40, [f"i{n}" for n in range(40)]))
    learn(bank, clicks([f"u{n}" for n in range(29)] * 3, ["i0", "i1", "i2"] * 29, START + 100 * MINUTE))
    outcome = learn(bank, clicks(["newcomer"], ["novelty"], START + 1000 * MINUTE))
    assert len(bank.items) == 33
    assert {"i0", "i1", "i2", "novelty"} <= set(bank.items.ids)
    assert bank.users.code("fan") == -1
    assert bank.users.ids[-1] == "newcomer"
    assert len(bank.users) == 25
    assert outcome.moved[:4].tolist()[0] == 0
    assert np.count_nonzero(outcome.moved >= 0) == 32
    assert bank.learnt == 128


def test_lists_and_coverage_follow_the_codes() -> None:
    """What was shown before items were forgotten is the same item afterwards."""
    bank, board = ModelBank(SMALL), Scoreboard(OWN_MODELS)
    moves_seen = 0
    for seed in range(6):
        batch = mixed(150, seed=seed, users=60, items=60)
        if seed % 2:
            batch = batch._replace(items=[f"{item}.{seed}" for item in batch.items])
        outcome = learn(bank, batch)
        board.add(outcome)
        listed = outcome.top[outcome.top >= 0]
        assert listed.max(initial=0) < len(bank.items)
        moves_seen += len(outcome.moved) > 0
        report = board.report(0, 0, 1, 1.0, "A")
        assert all(0 <= report["models"][name]["total"]["coverage"] <= 1 for name in OWN_MODELS)
        assert all(0 <= report["models"][name]["rolling"]["coverage"] <= 1 for name in OWN_MODELS)
    assert moves_seen > 1


def test_moved_lists_name_the_same_items() -> None:
    """One batch with a compaction inside, against the same stream event by event, by ids."""
    batch = clicks([f"u{n % 25}" for n in range(120)], [f"i{n // 2}" if n % 2 else f"i{n % 7}" for n in range(120)])
    whole, single = ModelBank(SMALL), ModelBank(SMALL)
    boards = [Scoreboard(OWN_MODELS) for _ in range(2)]
    outcome = learn(whole, batch)
    boards[0].add(outcome)
    assert len(outcome.moved) > 0
    row = 0
    for e in range(120):
        one = learn(single, batch.part(e, e + 1))
        boards[1].add(one)
        for r in range(len(one.events)):
            assert outcome.events[row] == e
            ids = [[single.items.ids[c] for c in top if c >= 0] for top in one.top[r].tolist()]
            gone = [[name for name in names if whole.items.code(name) >= 0] for names in ids]
            now = [[whole.items.ids[c] for c in top if c >= 0] for top in outcome.top[row].tolist()]
            for names, mine in zip(gone, now, strict=True):
                assert [name for name in names if name in mine] == mine
            assert outcome.ranks[row].tolist() == one.ranks[r].tolist()
            row += 1
    assert row == len(outcome.events)
    told_at_once, told_one_by_one = (board.report(0, 0, 120, 1.0, "A")["models"] for board in boards)
    for name in OWN_MODELS:
        for group in ("total", "rolling"):
            assert told_at_once[name][group]["coverage"] == told_one_by_one[name][group]["coverage"] > 0
    assert differences(whole.state(), single.state()) == []
