"""Best lists and ranks over dense scores, beside a plain sort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_workers.models.online.selection import best, hide, rank_of

CASES: dict[str, Callable[[np.random.Generator, int], NDArray[Any]]] = {
    "random": lambda rng, n: rng.normal(size=n),
    "few values": lambda rng, n: rng.integers(-2, 3, n).astype(float),
    "one value": lambda rng, n: np.zeros(n),
    "rising": lambda rng, n: np.arange(n, dtype=float),
    "falling": lambda rng, n: -np.arange(n, dtype=float),
    "far apart": lambda rng, n: 10.0 ** rng.uniform(-30, 30, n) * rng.choice([-1.0, 1.0], n),
    "hardly any": lambda rng, n: np.where(rng.random(n) < 0.01, rng.random(n), 0.0),
}


def sorted_plainly(scores: NDArray[np.float32], floor: float, k: int) -> list[int]:
    order = np.argsort(-scores, kind="stable")[:k]
    return [int(code) for code in order if scores[code] > np.float32(floor)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [1, 15, 16, 17, 700, 5000])
def test_best_lists_are_those_of_a_sort(case: str, n: int) -> None:
    rng = np.random.default_rng(3)
    scores = CASES[case](rng, n).astype(np.float32)
    hide(scores, rng.permutation(n).astype(np.int32), n // 10)
    for k in (0, 1, 20, 50, 400, n):
        for floor in (-1e30, 0.0, 0.5):
            out = np.full(max(k, 1), -1, np.int32)
            assert out[: best(scores, floor, k, out)].tolist() == sorted_plainly(scores, floor, k), (k, floor)


@pytest.mark.parametrize("case", CASES)
def test_ranks_are_exact_and_ties_count_against(case: str) -> None:
    rng = np.random.default_rng(4)
    scores = CASES[case](rng, 500).astype(np.float32)
    taken = rng.permutation(500)[:40].astype(np.int32)
    left = np.setdiff1d(np.arange(500), taken)
    for target in left[:50].tolist():
        assert rank_of(scores, target, taken, 40) == int((scores[left] >= scores[target]).sum())
