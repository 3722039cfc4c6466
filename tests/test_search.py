"""The search for settings: what is tried, what wins, and the table of the space."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.search import Fields, Scores, search
from evaluation.search_space import SPACE, Between, Group, OneOf
from stream_workers.models.online.bank import OWN_MODELS
from stream_workers.models.online.settings import BankSettings

TWO = {
    "left": Group("a", {"x": Between(0.01, 100.0)}),
    "right": Group("b", {"y": OneOf((1, 2, 3, 4))}),
}


class Landscape:
    """Two models with one number each, best at x = 1 and y = 3; the blend has their sum. The defaults are x = 50, y = 1."""

    def __init__(self) -> None:
        self.measured: list[tuple[Fields, int]] = []

    def __call__(self, fields: Fields, questions: int) -> Scores:
        self.measured.append((fields, questions))
        a, b = -abs(np.log(float(str(fields.get("x", 50.0))))), -abs(float(str(fields.get("y", 1))) - 3)
        return {"a": a, "b": b, "blend": a + b}


def test_each_group_finds_its_own_best() -> None:
    landscape = Landscape()
    found = search(landscape, 1000, 27, np.random.default_rng(1), TWO)
    assert found.defaults.fields == {}
    drawn = [fields["x"] for fields, questions in landscape.measured if questions == 250 and "x" in fields]
    assert found.best.fields["y"] == 3
    assert found.best.fields["x"] == min(drawn, key=lambda x: abs(np.log(float(str(x)))))
    assert found.best.scores["blend"] > found.defaults.scores["blend"]


def test_rounds_ask_fewer_settings_more_questions() -> None:
    landscape = Landscape()
    found = search(landscape, 1000, 27, np.random.default_rng(1), TWO)
    sizes = [questions for _, questions in landscape.measured]
    assert [sizes.count(size) for size in (250, 500, 1000)] == [27, 9, 3 + 2]
    assert [trial.round for trial in found.trials] == [1] * 27 + [2] * 9 + [3] * 3 + [4] * 2
    assert landscape.measured[0] == ({}, 250)


def test_the_defaults_stay_when_nothing_is_better() -> None:
    def worse(fields: Fields, questions: int) -> Scores:
        score = -float(len(fields))
        return {"a": score, "b": score, "blend": score}

    assert search(worse, 1000, 12, np.random.default_rng(1), TWO).best.fields == {}


def test_what_wins_apart_must_win_together() -> None:
    """Both groups improve, but the blend becomes worse: the defaults stay."""

    def quarrel(fields: Fields, questions: int) -> Scores:
        return {"a": float("x" in fields), "b": float("y" in fields), "blend": -float(len(fields))}

    assert search(quarrel, 1000, 12, np.random.default_rng(1), TWO).best.fields == {}


def test_what_is_hardly_better_is_noise() -> None:
    def hardly(fields: Fields, questions: int) -> Scores:
        return {"a": 1 + 0.005 * ("x" in fields), "b": 1 + 0.02 * ("y" in fields), "blend": 1 - abs(len(fields) - 1)}

    found = search(hardly, 1000, 12, np.random.default_rng(1), TWO)
    assert found.trials[-1].fields.keys() == found.best.fields.keys() == {"y"}


def test_what_was_good_on_few_questions_only_is_dropped() -> None:
    def early(fields: Fields, questions: int) -> Scores:
        better = float(questions < 1000)
        return {"a": 1 + better * ("x" in fields), "b": 1.0, "blend": 1.0 - len(fields)}

    assert search(early, 1000, 12, np.random.default_rng(1), TWO).best.fields == {}


def test_a_seed_decides_the_search() -> None:
    one, again, other = (search(Landscape(), 1000, 9, np.random.default_rng(seed), TWO).trials for seed in (3, 3, 4))
    assert one == again
    assert one != other


def test_one_trial_is_the_defaults() -> None:
    found = search(Landscape(), 1000, 1, np.random.default_rng(1), TWO)
    assert all(trial.fields == {} for trial in found.trials)


@pytest.mark.parametrize(("questions", "trials"), [(0, 5), (1000, 0)])
def test_nothing_to_search_is_refused(questions: int, trials: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        search(Landscape(), questions, trials, np.random.default_rng(1), TWO)


def test_progress_ends_at_its_total() -> None:
    told: list[tuple[int, int]] = []
    search(Landscape(), 1000, 9, np.random.default_rng(1), TWO, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)


def test_draws_are_within_bounds_and_whole_where_they_should_be() -> None:
    rng = np.random.default_rng(1)
    whole = [Between(4, 40).draw(rng) for _ in range(300)]
    rates = [Between(0.01, 1.0).draw(rng) for _ in range(300)]
    assert all(isinstance(value, int) and 4 <= value <= 40 for value in whole)
    assert all(isinstance(value, float) and 0.01 <= value <= 1 for value in rates)
    assert 0.07 < np.median([float(str(rate)) for rate in rates]) < 0.14  # even on a logarithmic scale
    assert {OneOf((1, 2)).draw(rng) for _ in range(50)} == {1, 2}


def test_the_space_names_fields_and_models_that_exist_and_each_field_once() -> None:
    fields = [field for group in SPACE.values() for field in group.ranges]
    assert len(fields) == len(set(fields))
    assert {group.judge for group in SPACE.values()} <= set(OWN_MODELS)
    rng = np.random.default_rng(1)
    for group in SPACE.values():
        for _ in range(20):
            BankSettings.from_mapping({field: values.draw(rng) for field, values in group.ranges.items()})


@pytest.mark.parametrize("group", SPACE.values())
def test_the_defaults_lie_in_the_space(group: Group) -> None:
    for field, values in group.ranges.items():
        default = getattr(BankSettings(), field)
        assert default in values.values if isinstance(values, OneOf) else values.low <= default <= values.high, field
