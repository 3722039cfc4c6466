"""Which past item a reason names: against the sum written out in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.ranking.seeds import Pairs, Seeds

ITEMS, PLACES = 12, 5


def pairs_of(seed: int) -> Pairs:
    rng = np.random.default_rng(seed)
    neighbours = np.array([rng.permutation(ITEMS)[:PLACES] for _ in range(ITEMS)], np.int32)
    return Pairs(
        neighbours, rng.random((ITEMS, PLACES), np.float32) + np.float32(0.1), rng.integers(0, PLACES + 1, ITEMS, np.int32),
        rng.random(ITEMS, np.float32) * 10, 0.8, 0.4,
    )  # fmt: skip


def plainly(pairs: Pairs, history: list[int], target: int, unit: float) -> int:
    best, strongest = -1, 0.0
    for k, item in enumerate(history):
        for place in range(int(pairs.filled[item])):
            if pairs.neighbours[item, place] == target:
                damped = (float(pairs.mass[item]) / unit + 1) ** -pairs.power
                part = pairs.decay**k * damped * float(pairs.weights[item, place])
                if part > strongest:
                    best, strongest = k, part
    return best


@settings(deadline=None)
@given(
    st.integers(0, 1000), st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=6),
    st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=8), st.sampled_from([0.5, 1.0, 8.0]),
)  # fmt: skip
def test_it_is_the_largest_part_of_the_sum(seed: int, history: list[int], targets: list[int], unit: float) -> None:
    pairs = pairs_of(seed)
    seeds = Seeds(pairs, np.array(history, np.int64), unit)
    assert seeds.strongest(np.array(targets, np.int32)) == [plainly(pairs, history, target, unit) for target in targets]


def test_nothing_speaks_where_there_is_nothing() -> None:
    assert Seeds(pairs_of(1), np.zeros(0, np.int64), 1.0).strongest(np.array([1, 2])) == [-1, -1]


def test_it_keeps_what_the_pairs_were() -> None:
    pairs = pairs_of(1)
    seeds = Seeds(pairs, np.array([3, 4]), 1.0)
    before = seeds.strongest(np.arange(ITEMS))
    for array in (pairs.neighbours, pairs.weights, pairs.filled, pairs.mass):
        array[:] = 0
    assert seeds.strongest(np.arange(ITEMS)) == before != [-1] * ITEMS
