"""The scoreboard: against cases computed by hand, against a plain recount, and across a restart."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_workers.models.online.columns import Outcome
from stream_workers.models.online.scoreboard import Scoreboard

NAMES = ("popularity", "blend")
WHEN = {"at": 2, "newest_event_at": 1, "events": 9, "sample": 0.5, "mode": "A"}


def outcome(rng: np.random.Generator, size: int, items: int = 40, names: tuple[str, ...] = NAMES) -> Outcome:
    tops = [[rng.permutation(items)[:20] for _ in names] for _ in range(size)]
    return Outcome(
        events=np.arange(size), names=names, ranks=rng.integers(0, 40, (size, len(names)), np.int32),
        top=np.array(tops, np.int32).reshape(size, len(names), 20), pool=np.full(size, 30, np.int32),
        reachable=rng.random(size) < 0.8, history_length=rng.integers(0, 7, size, np.int32),
        item_count=rng.integers(0, 10, size, np.int32), item_age_ms=np.zeros(size),
        items_seen=np.full(size, items, np.int32), top_popularity=rng.random((size, len(names)), np.float32),
    )  # fmt: skip


def part(whole: Outcome, start: int, end: int) -> Outcome:
    return Outcome(*(column if name == "names" else column[start:end] for name, column in whole._asdict().items()))


def with_ranks(*ranks: int) -> Outcome:
    made = outcome(np.random.default_rng(1), len(ranks), names=("blend",))
    return made._replace(ranks=np.array(ranks, np.int32)[:, None])


def recount(whole: Outcome, chosen: np.ndarray, m: int) -> dict[str, float | None]:
    """The metrics of one model over the chosen events, one event after the other."""
    ranks = whole.ranks[chosen, m].tolist()
    if not ranks:
        return dict.fromkeys(("recall@10", "recall@20", "ndcg@10", "mrr@20", "mean_popularity")) | {"events": 0}
    sums = {
        "recall@10": sum(1 for r in ranks if 0 < r <= 10),
        "recall@20": sum(1 for r in ranks if 0 < r <= 20),
        "ndcg@10": sum(1 / math.log2(1 + r) for r in ranks if 0 < r <= 10),
        "mrr@20": sum(1 / r for r in ranks if 0 < r <= 20),
        "mean_popularity": float(whole.top_popularity[chosen, m].sum(dtype=np.float64)),
    }
    return {name: pytest.approx(value / len(ranks), rel=1e-5) for name, value in sums.items()} | {"events": len(ranks)}


def covered(whole: Outcome, chosen: np.ndarray, m: int) -> float:
    return len(set(whole.top[chosen, m, :10].ravel().tolist()) - {-1}) / int(whole.items_seen[-1])


def test_metrics_of_four_ranks_by_hand() -> None:
    board = Scoreboard(["blend"])
    board.add(with_ranks(1, 3, 11, 0))
    total = board.report(**WHEN)["models"]["blend"]["total"]
    assert total["recall@10"] == 2 / 4
    assert total["recall@20"] == 3 / 4
    assert total["ndcg@10"] == pytest.approx((1 + 1 / 2) / 4)  # 1 / log2(1 + 3) = 1/2
    assert total["mrr@20"] == pytest.approx((1 + 1 / 3 + 1 / 11) / 4)
    assert total["events"] == 4


@pytest.mark.parametrize(("rank", "at10", "at20"), [(10, 1, 1), (11, 0, 1), (20, 0, 1), (21, 0, 0), (0, 0, 0)])
def test_the_ends_of_the_lists(rank: int, at10: int, at20: int) -> None:
    board = Scoreboard(["blend"])
    board.add(with_ranks(rank))
    total = board.report(**WHEN)["models"]["blend"]["total"]
    assert (total["recall@10"], total["recall@20"]) == (at10, at20)
    assert (total["ndcg@10"] > 0, total["mrr@20"] > 0) == (bool(at10), bool(at20))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 25), min_size=1, max_size=6))
def test_every_group_is_the_plain_recount(seed: int, sizes: list[int]) -> None:
    whole, window = outcome(np.random.default_rng(seed), sum(sizes)), 20
    board = Scoreboard(NAMES, window)
    start = 0
    for size in sizes:
        board.add(part(whole, start, start + size))
        start += size
    if not start:
        return
    everything, last = np.arange(start), np.arange(max(0, start - window), start)
    cold, new = whole.history_length < 3, whole.item_count < 5
    report = board.report(**WHEN)
    for m, name in enumerate(NAMES):
        told = report["models"][name]
        assert told["total"] == recount(whole, everything, m) | {"coverage": covered(whole, everything, m)}
        assert told["rolling"] == recount(whole, last, m) | {"coverage": covered(whole, last, m)}
        for segment, chosen in {"cold_users": cold, "warm_users": ~cold, "new_items": new, "old_items": ~new}.items():
            assert told["segments"][segment] == recount(whole, np.flatnonzero(chosen), m), segment
    assert report["reachable"]["total"] == pytest.approx(whole.reachable.mean())
    assert report["reachable"]["rolling"] == pytest.approx(whole.reachable[last].mean())


def test_a_restart_changes_nothing() -> None:
    whole = outcome(np.random.default_rng(5), 700, items=5000)
    kept, restarted = Scoreboard(NAMES, 100), Scoreboard(NAMES, 100)
    kept.add(part(whole, 0, 333))
    restarted.load({name: array.copy() for name, array in kept.state().items()})
    kept.add(part(whole, 333, 700))
    restarted.add(part(whole, 333, 700))
    assert restarted.report(**WHEN) == kept.report(**WHEN)


def test_loading_does_not_tie_two_scoreboards_together() -> None:
    first, second = Scoreboard(NAMES), Scoreboard(NAMES)
    second.load(first.state())
    second.add(outcome(np.random.default_rng(1), 3))
    assert first.ranked == 0


def test_the_state_of_other_models_is_refused() -> None:
    board = Scoreboard(NAMES)
    board.add(outcome(np.random.default_rng(1), 3))
    before = board.report(**WHEN)
    for other in (Scoreboard(["blend"]), Scoreboard(["popularity", "bpr"]), Scoreboard(NAMES, 7)):
        with pytest.raises(ValueError, match="scoreboard"):
            board.load(other.state())
    with pytest.raises(ValueError, match="ranked by"):
        board.add(with_ranks(1))
    assert board.report(**WHEN) == before


def test_the_report_is_json_and_has_the_plans_form() -> None:
    board = Scoreboard(NAMES)
    assert board.report(**WHEN)["models"]["blend"]["rolling"]["recall@10"] is None
    hostile = outcome(np.random.default_rng(3), 4)
    hostile.top_popularity[0] = np.nan
    hostile.top_popularity[1] = np.inf
    hostile.top[2] = -1
    board.add(hostile)
    report: dict[str, Any] = json.loads(json.dumps(board.report(**WHEN, drifts=[{"at": 1}]), allow_nan=False))
    assert report.keys() == {
        "at", "newest_event_at", "events", "ranked", "sample", "mode", "models", "reachable", "drifts", "ratings",
    }  # fmt: skip
    assert (report["ranked"], report["events"], report["drifts"]) == (4, 9, [{"at": 1}])
    of_blend = report["models"]["blend"]
    assert of_blend["total"].keys() == of_blend["rolling"].keys()
    assert all(segment.keys() == of_blend["total"].keys() - {"coverage"} for segment in of_blend["segments"].values())


def test_memory_is_bounded_by_window_and_catalogue() -> None:
    board, rng = Scoreboard(NAMES, 50), np.random.default_rng(2)
    for _ in range(3):
        board.add(outcome(rng, 400, items=3000))
    assert sum(array.nbytes for array in board.state().values()) < 50 * 400 + 2 * 2 * 3000 + 1000
