"""Questions, ranked lists, judgements, and what a report says of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pytest

from batch.datasets.splits import leave_one_out
from batch.judging import bands, difference, judge
from batch.models.interface import Epoch
from batch.questions import best_lists, questions
from batch.report import Run, Trained, as_document, cost_of, verdicts
from ops.batch_page import checked_page_path, page
from ops.batch_table import best_cells, metric_rows, print_run, segment_rows
from schemas.errors import InvalidInput
from stream_workers.models.deep.item_scores import ItemScores
from stream_workers.models.deep.scorer import F32, Query, Scorer
from tests.test_batch_datasets import BY_HAND, written
from tests.tiny_log import ITEMS, RING, tiny_log

LOG = tiny_log()
PARTS = leave_one_out(LOG)
ASKED = questions(PARTS.train, PARTS.test)


class NextInRing(Scorer):
    """Knows the structure of the tiny log: what comes two places behind the last item."""

    kind = "next_in_ring"

    def score(self, queries: Sequence[Query]) -> F32:
        last = np.array([query.items[-1] for query in queries])
        wanted = last // RING * RING + (last + 2) % RING
        return (np.arange(LOG.catalogue.size) == wanted[:, None]).astype(np.float32)

    def arrays(self) -> Mapping[str, Any]:
        return {"nothing": np.zeros(3, np.float32)}

    @classmethod
    def load(cls, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        return cls()


def chance() -> Scorer:
    return ItemScores(np.random.default_rng(1).random(LOG.catalogue.size).astype(np.float32))


def test_questions_know_the_past_and_ask_for_what_is_new() -> None:
    later = written([0, 0, 1, 2, 0], [8, 3, 6, 4, 3], [70, 80, 90, 95, 99])
    asked = questions(BY_HAND, later)
    assert asked.users.tolist() == [0, 2]  # user 1 took only what they had
    assert asked.relevant.tolist() == [[3], [4]]
    assert asked.queries[0].items.tolist() == [5, 7, 8, 1]
    assert [query.now for query in asked.queries] == [80, 95]
    assert [taken.tolist() for taken in asked.taken] == [[1, 5, 7, 8], []]
    again = questions(BY_HAND, later, repeats=True, longest=2)
    assert again.relevant.tolist() == [[3, 8], [6, -1], [4, -1]]
    assert again.queries[0].items.tolist() == [8, 1]
    assert [query.now for query in again.queries] == [70, 90, 95]


def test_nobody_to_ask_is_no_question() -> None:
    nothing = questions(BY_HAND, BY_HAND.part(0, 0))
    assert (len(nothing.users), len(nothing.queries), nothing.taken) == (0, 0, [])
    assert best_lists(chance(), nothing, 5, np.random.default_rng(1)).shape == (0, 5)


def test_lists_are_the_order_of_the_scores_without_what_was_taken() -> None:
    scores = np.random.default_rng(4).random(LOG.catalogue.size).astype(np.float32)
    lists = best_lists(ItemScores(scores), ASKED, 20, np.random.default_rng(1))
    for row, taken in zip(lists, ASKED.taken, strict=True):
        order = [item for item in np.argsort(-scores) if item not in set(taken.tolist())]
        assert row.tolist() == order[:20]
    with_taken = best_lists(ItemScores(scores), ASKED, 20, np.random.default_rng(1), exclude_taken=False)
    assert with_taken[0].tolist() == np.argsort(-scores)[:20].tolist()


def test_lists_end_where_the_catalogue_does() -> None:
    lists = best_lists(chance(), ASKED, 100, np.random.default_rng(1))
    for row, taken in zip(lists, ASKED.taken, strict=True):
        assert (row >= 0).sum() == LOG.catalogue.size - len(taken)
        assert not set(row[row >= 0].tolist()) & set(taken.tolist())


def test_equal_scores_favour_no_row() -> None:
    flat = ItemScores(np.zeros(LOG.catalogue.size, np.float32))
    firsts = [best_lists(flat, ASKED, 1, np.random.default_rng(seed))[0, 0] for seed in range(40)]
    assert len(set(firsts)) > 10


def test_who_knows_the_answer_is_judged_perfect_and_chance_as_chance() -> None:
    perfect = judge("ring", NextInRing(), ASKED, PARTS.train, seed=1)
    assert {name: one.mean for name, one in perfect.metrics.items()} == dict.fromkeys(perfect.metrics, 1.0)
    random = judge("chance", chance(), ASKED, PARTS.train, seed=1)
    found = random.metrics["recall@10"]
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(10 / (LOG.catalogue.size - 4), abs=0.15)
    assert random.coverage <= 1
    assert judge("chance", chance(), ASKED, PARTS.train, seed=1).metrics == random.metrics


def test_segments_divide_the_questions() -> None:
    found = judge("ring", NextInRing(), ASKED, PARTS.train, seed=1).segments
    assert found["cold_users"].users + found["warm_users"].users == len(ASKED.users)
    assert found["warm_users"].users == 0
    assert math.isnan(found["warm_users"].recall)
    assert found["new_items"].users + found["old_items"].users == len(ASKED.users)
    assert sum(found[name].users for name in ("head", "middle", "tail")) == len(ASKED.users)


def test_bands_have_a_third_of_the_events_each() -> None:
    counts = np.random.default_rng(1).zipf(1.5, 500).clip(max=400)
    found = bands(counts)
    assert sum(chosen.astype(int) for chosen in found.values()).tolist() == [1] * 500  # type: ignore[union-attr]
    assert counts[found["head"]].min() >= counts[found["middle"]].max() >= counts[found["tail"]].max()
    for chosen in found.values():
        assert counts[chosen].sum() / counts.sum() == pytest.approx(1 / 3, abs=0.15)


def a_run(deep: Scorer) -> Run:
    models = [("ease", chance(), False), ("popularity", ItemScores(np.arange(ITEMS + 2, dtype=np.float32)), False)]
    trained = [
        Trained(judge(name, scorer, ASKED, PARTS.train, seed=1), cost_of(scorer, 1.5), (), is_deep)
        for name, scorer, is_deep in [*models, ("gru<2>", deep, True)]
    ]
    trained[-1] = trained[-1]._replace(epochs=(Epoch(2.0, 0.1), Epoch(1.5, 0.2)))
    return Run("films & more", "leave-one-out", 1, True, 60, ITEMS + 2, 240, 60, 60, tuple(trained))


def test_a_deep_model_that_is_no_better_is_said_not_to_be_worth_its_cost() -> None:
    (said,) = verdicts(a_run(chance()))
    assert said.startswith("gru<2> is not worth its cost here")
    assert "not significantly above ease: +0.0000, interval +0.0000 to +0.0000" in said
    (praised,) = verdicts(a_run(NextInRing()))
    assert praised == "gru<2> is significantly above ease, popularity (Recall@10 1.0000)"


def test_differences_are_paired() -> None:
    one, other = (judge("one", scorer, ASKED, PARTS.train, seed=1) for scorer in (NextInRing(), chance()))
    found = difference(one, other, seed=1)
    assert found.mean == pytest.approx(one.metrics["recall@10"].mean - other.metrics["recall@10"].mean)
    assert 0 < found.low <= found.mean <= found.high


def test_the_document_is_json_without_nan() -> None:
    document = as_document(a_run(chance()))
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    assert [model["name"] for model in document["models"]] == ["ease", "popularity", "gru<2>"]
    assert document["models"][0]["cost"] == {"seconds": 1.5, "megabytes": 4 * (ITEMS + 2) / 1e6, "parameters": ITEMS + 2}
    assert document["models"][2]["epochs"] == [{"loss": 2.0, "validation": 0.1}, {"loss": 1.5, "validation": 0.2}]
    assert document["models"][0]["segments"]["warm_users"] == {"users": 0, "recall@10": None}


def test_tables_are_sorted_and_mark_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(NextInRing())
    header, rows = metric_rows(run)
    assert rows[0][0] == "gru<2>"
    assert all(len(row) == len(header) for row in rows)
    assert (0, header.index("recall@10")) in best_cells(header, rows)
    assert not {column for _, column in best_cells(header, rows)} & {0, header.index("seconds"), header.index("95 % interval")}
    header, rows = segment_rows(run)
    assert all(len(row) == len(header) for row in rows)
    print_run(run)
    shown = capsys.readouterr().out
    assert "gru<2>" in shown
    assert "is significantly above ease, popularity" in shown


def test_the_page_stands_alone_and_is_escaped() -> None:
    text = page(a_run(chance()))
    assert text.count("data:image/png;base64,") == 2
    assert "films &amp; more" in text
    assert "gru&lt;2&gt;" in text
    assert "gru<2>" not in text
    assert not any(outside in text for outside in ("http:", "https:", "<script", "<link"))
    assert page(a_run(chance())) == text


def test_a_page_that_cannot_be_written_is_said_before_training(tmp_path: Any) -> None:
    assert checked_page_path(None) is None
    assert checked_page_path(tmp_path / "a.html") == tmp_path / "a.html"
    for path in (tmp_path / "a.pdf", tmp_path / "nowhere" / "a.html"):
        with pytest.raises(InvalidInput, match="--html"):
            checked_page_path(path)
