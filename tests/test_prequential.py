"""The prequential protocol: order, questions, warm-up, what is counted; and the leakage check, on small banks and the real one."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Literal

import numpy as np
import pytest

from evaluation.judgement import judge, learning_curve
from evaluation.leakage import ANSWERS, first_leak, scrambled_after
from evaluation.prequential import Record, replay
from evaluation.protocol import in_time_order, questions, taken_in_order, warm_up_events
from evaluation.river_ranking import RIVER_MODELS, RiverBank
from schemas.events import EventType
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.columns import Interactions
from stream_workers.models.online.scoreboard import Scoreboard
from stream_workers.models.online.settings import BankSettings
from tests.small_bank import NAMES, PeekingBank, SmallBank, stream

PREDICTIONS = tuple(name for name in ANSWERS if name != "top_popularity")


def _run(batch: Interactions, mode: Literal["A", "B"] = "A", **options: Any) -> Record:
    warm_up = warm_up_events(len(batch.users))
    return replay(SmallBank(repeats=mode == "B"), batch, questions(batch, mode), warm_up, **options)


def _recall_by_hand(batch: Interactions, mode: str, k: int) -> float:
    """All-time popularity, in plain Python, as field.md words the protocol."""
    counts: Counter[str] = Counter()
    had: defaultdict[str, set[str]] = defaultdict(set)
    hits = []
    for number, (user, item) in enumerate(zip(batch.users, batch.items, strict=True)):
        if mode == "B" or item not in had[user]:
            others = [one for one in counts if one != item and (mode == "B" or one not in had[user])]
            better_or_equal = sum(counts[one] >= counts[item] for one in others)
            if number >= len(batch.users) // 5:
                hits.append(item in counts and better_or_equal < k)
        counts[item] += 1
        had[user].add(item)
    return float(np.mean(hits))


@pytest.mark.parametrize("mode", ["A", "B"])
def test_recall_is_that_of_the_protocol_in_words(mode: Literal["A", "B"]) -> None:
    batch = stream(400)
    judgement = judge(_run(batch, mode), np.random.default_rng(1))
    assert judgement.metrics["recall@10"][0] == pytest.approx(_recall_by_hand(batch, mode, 10))
    assert judgement.metrics["recall@20"][0] == pytest.approx(_recall_by_hand(batch, mode, 20))


def test_events_are_sorted_by_time_and_ties_keep_their_order() -> None:
    batch = Interactions.taken(list("abcde"), list("vwxyz"), np.array([3, 1, 3, 2, 1]))
    ordered = in_time_order(batch)
    assert ordered.users == list("bedac")
    assert ordered.timestamps.tolist() == [1, 1, 2, 3, 3]
    assert in_time_order(ordered) is ordered


def test_a_stream_out_of_order_is_refused() -> None:
    batch = Interactions.taken(["u", "u"], ["a", "b"], np.array([2, 1]))
    with pytest.raises(ValueError, match="not in time order"):
        replay(SmallBank(), batch, np.ones(2, bool), 0)


def test_questions_are_positive_events_and_in_mode_a_the_first_of_their_pair() -> None:
    kinds = [EventType.CLICK, EventType.CLICK, EventType.DISLIKE, EventType.LIKE, EventType.VIEW, EventType.CLICK]
    batch = Interactions.taken(["u", "u", "v", "v", "w", "w"], list("iijjij"), np.arange(6), np.array(kinds, np.uint8))
    batch = batch._replace(undo=np.array([False] * 5 + [True]))
    assert questions(batch, "A").tolist() == [True, False, False, False, True, False]
    assert questions(batch, "B").tolist() == [True, True, False, True, True, False]


def test_the_first_fifth_is_learnt_but_not_counted() -> None:
    batch = stream(500)
    record = _run(batch, "B")
    assert (record.warm_up, record.total, len(record.events)) == (100, 500, 500)
    assert record.counted.tolist() == [number >= 100 for number in range(500)]
    assert judge(record, np.random.default_rng(1)).questions == 400
    assert record.exposure.sum(axis=1).max() <= 400 * 10


def test_new_items_are_misses_that_count() -> None:
    """Ten events, each of a new item: nobody can be right."""
    batch = Interactions.taken([f"u{n}" for n in range(10)], [f"i{n}" for n in range(10)], np.arange(10))
    judgement = judge(_run(batch), np.random.default_rng(1))
    assert (judgement.questions, judgement.new_items) == (8, 8)
    assert judgement.metrics["recall@20"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_outcome_does_not_depend_on_the_chunks(chunk: int) -> None:
    batch = stream(300)
    whole, cut = _run(batch), _run(batch, chunk=chunk)
    for name, column in whole._asdict().items():
        assert np.array_equal(column, getattr(cut, name)), name


def test_progress_is_told_up_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    _run(stream(25), chunk=10, progress=lambda done, total: told.append((done, total)))
    assert told == [(10, 25), (20, 25), (25, 25)]


def test_list_metrics_by_hand() -> None:
    """Two users, always the same two items recommended: coverage, Gini and novelty can be counted."""
    users, items = ["a", "b", "c", "d", "e"], ["x", "x", "y", "x", "x"]
    record = _run(Interactions.taken(users, items, np.arange(5)), "B")
    metrics = judge(record, np.random.default_rng(1)).metrics
    # counted questions 1..4 saw {x}, {x}, {x, y}, {x, y}; x has 4 of the 5 events
    assert record.exposure.tolist() == [[4, 2], [4, 2]]
    assert metrics["coverage"].tolist() == [1.0, 1.0]
    assert metrics["gini"] == pytest.approx([(4 - 2) / (2 * 6)] * 2)
    assert metrics["novelty"] == pytest.approx([(4 * np.log2(5 / 4) + 2 * np.log2(5)) / 6] * 2)
    assert metrics["mean_popularity"] == pytest.approx([(1 + 2 + 1.5 + 2) / 4] * 2)


def test_segments_divide_the_questions() -> None:
    record = _run(stream(400))
    judgement = judge(record, np.random.default_rng(1))
    sizes = {name: events for name, (events, _) in judgement.segments.items()}
    assert sizes["cold_users"] + sizes["warm_users"] == sizes["new_items"] + sizes["old_items"] == judgement.questions
    cold = record.counted & (record.history_length < 3)
    hits = (record.ranks[cold] > 0) & (record.ranks[cold] <= 10)
    assert judgement.segments["cold_users"][1]["recall@10"] == pytest.approx(hits.mean(axis=0))


def test_the_difference_is_to_the_best_model_or_to_the_blend() -> None:
    judgement = judge(_run(stream(400)), np.random.default_rng(1))
    best = int(np.argmax(judgement.metrics["recall@10"]))
    assert judgement.reference == NAMES[best]
    assert judgement.difference is not None
    assert judgement.difference.mean[best] == 0
    assert judgement.difference.mean[1 - best] < 0
    renamed = _run(stream(400))._replace(names=("blend", "latest"))
    assert judge(renamed, np.random.default_rng(1)).reference == "blend"


def test_the_learning_curve_is_the_rolling_mean() -> None:
    record = _run(stream(1000), "B")
    curve = learning_curve(record, points=5)
    hits = (record.ranks > 0) & (record.ranks <= 10)
    assert curve.window == 200
    assert curve.events.tolist() == [200, 400, 600, 800, 1000]
    assert curve.recall == pytest.approx(np.stack([hits[end - 200 : end].mean(axis=0) for end in curve.events]))
    assert curve.times.tolist() == record.times[curve.events - 1].tolist()


@pytest.mark.parametrize("events", [0, 1, 4])
def test_streams_too_short_to_judge_are_judged_without_fault(events: int) -> None:
    judgement = judge(_run(stream(events)), np.random.default_rng(1))
    assert judgement.questions <= 4
    assert len(judgement.curve.events) == min(events, 1)


def test_the_scoreboard_of_the_worker_says_the_same() -> None:
    """Two implementations of the same formulas, on the same outcomes; the scoreboard knows no warm-up."""
    batch = stream(600)
    ranked, bank = questions(batch, "A"), SmallBank()
    judgement = judge(replay(bank, batch, ranked, 0), np.random.default_rng(1))
    board = Scoreboard(NAMES)
    board.add(SmallBank().advance(batch, ranked, NAMES))
    for m, name in enumerate(NAMES):
        told = board.report(0, 0, 600, 1.0, "A")["models"][name]
        for metric in ("recall@10", "recall@20", "ndcg@10", "mrr@20", "coverage", "mean_popularity"):
            assert judgement.metrics[metric][m] == pytest.approx(told["total"][metric], rel=1e-5), metric
        for segment, (events, metrics) in judgement.segments.items():
            assert told["segments"][segment]["events"] == events
            assert metrics["recall@10"][m] == pytest.approx(told["segments"][segment]["recall@10"])


def test_a_scrambled_future_leaves_the_past_alone() -> None:
    batch = stream(200)
    other = scrambled_after(batch, 119, np.random.default_rng(1))
    for mine, its in zip(batch.part(0, 120), other.part(0, 120), strict=True):
        np.testing.assert_array_equal(mine, its)
    assert other.users[120:] != batch.users[120:]
    assert sum(item.startswith("never seen") for item in other.items[120:]) == 27
    assert np.all(np.diff(other.timestamps) >= 0)
    assert other.timestamps[120:].tolist() != batch.timestamps[120:].tolist()


@pytest.mark.parametrize("chunk", [50, 64, 1000])
def test_an_honest_bank_does_not_leak(chunk: int) -> None:
    assert first_leak(SmallBank, stream(300), "A", 149, np.random.default_rng(1), chunk) is None


def test_a_bank_that_looks_ahead_is_caught() -> None:
    assert first_leak(PeekingBank, stream(300), "A", 149, np.random.default_rng(1), 1000) is not None
    assert first_leak(PeekingBank, stream(300), "A", 149, np.random.default_rng(1), 150) is None  # nothing of the future to look at


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["A", "B"])
def test_the_models_do_not_leak(mode: Literal["A", "B"]) -> None:
    """Scramble the future: not one rank, list or candidate of the past changes, wherever chunks end."""
    batch = stream(1500, users=60, items=200)
    kinds = np.random.default_rng(2).choice([0, 1, 1, 1, 2, 3, 6, 7], size=1500).astype(np.uint8)
    batch = batch._replace(types=kinds, undo=np.random.default_rng(3).random(1500) < 0.03)
    settings = BankSettings(repeats=mode == "B")
    for event, chunk in ((700, 1000), (899, 300), (1200, 5000)):
        rng = np.random.default_rng(event)
        assert first_leak(lambda: ModelBank(settings), batch, mode, event, rng, chunk, PREDICTIONS) is None


@pytest.mark.slow
def test_the_popularity_of_the_lists_does_not_leak() -> None:
    assert first_leak(ModelBank, stream(1500), "A", 700, np.random.default_rng(1), 1000) is None


@pytest.mark.slow
def test_the_real_bank_agrees_with_the_protocol_in_words() -> None:
    batch = stream(800, users=40, items=80)
    record = replay(ModelBank(), batch, questions(batch, "A"), warm_up_events(800))
    metrics = judge(record, np.random.default_rng(1)).metrics
    at = record.names.index("popularity_all_time")
    assert metrics["recall@10"][at] == pytest.approx(_recall_by_hand(batch, "A", 10))


@pytest.mark.parametrize("name", RIVER_MODELS)
@pytest.mark.parametrize("values", [None, "ratings"])
def test_river_ranks_through_the_same_protocol(name: str, values: str | None) -> None:
    batch = stream(300)
    if values:
        batch = batch._replace(values=np.random.default_rng(1).integers(1, 6, size=300).astype(np.float32))
    record = replay(RiverBank(name, 1, repeats=False), batch, questions(batch, "A"), 60)
    assert record.names == (name,)
    seen = record.ranks[:, 0] > 0
    assert seen.sum() > 100
    assert np.all(record.ranks[seen, 0] >= 1)
    assert record.ranks.max() <= record.items_seen
    judgement = judge(record, np.random.default_rng(1))
    assert 0 < judgement.metrics["recall@10"][0] < 1
    again = replay(RiverBank(name, 1, repeats=False), batch, questions(batch, "A"), 60, chunk=11)
    assert np.array_equal(record.ranks, again.ranks)


def test_river_does_not_leak() -> None:
    assert first_leak(lambda: RiverBank("river_biased_mf", 1, False), stream(200), "A", 120, np.random.default_rng(1)) is None


def test_taken_in_order_keeps_all_columns_together() -> None:
    batch = stream(20)
    turned = taken_in_order(batch, np.arange(20)[::-1])
    assert turned.users == batch.users[::-1]
    assert turned.timestamps.tolist() == batch.timestamps[::-1].tolist()
    assert len(turned.contexts) == 20
