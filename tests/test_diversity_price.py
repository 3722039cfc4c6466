"""`freshet evaluate diversity`: what the knob costs is measured on the lists that people would get."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.diversity_price import Answers, judged, ranks_of
from evaluation.metrics.diversity import category_coverage
from ops.diversity_price import KNOBS, METHODS
from tests.small_bank import freshet, write_csv

SOURCE = "synthetic:1200,40,60,5"


def test_every_metric_by_hand() -> None:
    lists = np.full((2, 1, 10), -1)
    lists[0, 0, :2], lists[1, 0, :2] = [0, 1], [2, 0]
    answers = Answers(lists, np.array([0]), np.array([[1, -1]]), np.array([[4.0], [3.0]]))
    found = judged(answers, np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert found["recall@10"].tolist() == [[1.0, 1.0]]
    assert found["ndcg@10"][0].tolist() == pytest.approx([1.0, 1 / np.log2(3)])
    assert found["intra_list_diversity"].tolist() == [[0.0, 1.0]]
    assert found["category_coverage"].tolist() == [[0.5, 1.0]]
    assert found["miscalibration"][0].tolist() == pytest.approx([0.0, -np.log(0.99 * 0.5 + 0.01)])
    assert found["mean_popularity"].tolist() == [[4.0, 3.0]]
    assert ranks_of(np.array([5]), lists[0]).tolist() == [0]


def test_coverage_of_nothing_is_nothing() -> None:
    assert category_coverage([[-1, -1]], [[1.0]], 2).tolist() == [0.0]
    assert category_coverage([[0]], np.zeros((1, 0)), 2).tolist() == [0.0]
    with pytest.raises(ValueError, match="lists"):
        category_coverage([[3]], [[1.0]], 1)


def test_without_diversity_it_is_the_blend_and_with_it_lists_differ(tmp_path: Path) -> None:
    plot = tmp_path / "curve.svg"
    result = freshet("evaluate", "diversity", SOURCE, "--questions", "100000", "--plot", plot, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    plain = json.loads(freshet("evaluate", "prequential", SOURCE, "--models", "blend", "--json").stdout)
    assert document["questions"] == plain["questions"]
    for method in METHODS:
        metrics = document["methods"][method]
        for name in ("recall@10", "ndcg@10"):  # (the replay weighs its two memories of pairs before it answers, a request after)
            assert metrics[name]["mean"][0] == pytest.approx(plain["models"]["blend"][name], abs=0.005), (method, name)
        unlike = metrics["intra_list_diversity"]["mean"]
        assert len(unlike) == len(KNOBS)
        assert unlike[-1] >= unlike[5] > unlike[0]
        assert metrics["category_coverage"]["mean"][-1] > metrics["category_coverage"]["mean"][0]
        assert metrics["recall@10_minus_none"]["mean"][0] == 0.0
        assert metrics["recall@10_minus_none"]["mean"][-1] < 0.0, "diversity has its price"
    assert b"<svg" in plot.read_bytes()[:500]


def test_the_table_has_a_row_for_each_value_of_the_knob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = freshet("evaluate", "diversity", SOURCE, "--questions", "40")
    assert result.exit_code == 0, result.stderr
    rows = [line.split()[:2] for line in result.stdout.splitlines()[1:23]]
    assert rows == [[method, f"{knob:.1f}"] for method in METHODS for knob in KNOBS]
    assert "40 questions" in result.stdout


def test_items_without_categories_are_refused(tmp_path: Path) -> None:
    result = freshet("evaluate", "diversity", write_csv(tmp_path / "log.csv", 60))
    assert result.exit_code != 0
    assert "categories" in result.stderr
