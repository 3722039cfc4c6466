"""What every batch model promises, on a small log with a structure: one suite for all of the catalogue."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, replace
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest

from batch.datasets.interactions import InteractionLog
from batch.datasets.splits import Split, leave_one_out
from batch.judging import judge
from batch.models.catalogue import CATALOGUE, NAMES, entry, model_class
from batch.models.interface import BatchModel, Watch
from batch.questions import questions
from schemas.errors import InvalidInput
from stream_workers.models.deep.loading import load_scorer
from stream_workers.models.deep.scorer import Query, Scorer
from tests.tiny_log import ITEMS, START_MS, tiny_log, without_text

SMALL: dict[str, Any] = {"epochs": 8, "patience": 8, "batch": 32}
"""What makes a model quick on 60 users, where it has such a field."""
BY_RATINGS = ("autorec",)
THERE = tuple(one.name for one in CATALOGUE if find_spec(one.where.partition(":")[0]) is not None)
each_model = pytest.mark.parametrize("name", THERE)

LOG = tiny_log()
RATED = LOG._replace(ratings=(1 + LOG.items * 7 % 5).astype(np.float32))  # for models that learn from ratings alone


def small(name: str) -> BatchModel:
    model = model_class(name)()
    known = {field.name for field in fields(model)}  # type: ignore[arg-type]
    return replace(model, **{key: value for key, value in SMALL.items() if key in known})  # type: ignore[type-var]


def log_of(name: str) -> InteractionLog:
    return RATED if name in BY_RATINGS else LOG


@lru_cache
def parts_of(name: str) -> Split:
    return leave_one_out(log_of(name))


class Fitted(NamedTuple):
    """A trained model with what it told, and what its training was given, before and after."""

    scorer: Scorer
    told: list[tuple[int, int]]
    given: Split
    before: Split


@lru_cache
def usual(name: str) -> Fitted:
    """One training that several tests look at."""
    given, told = deepcopy(parts_of(name)), list[tuple[int, int]]()
    watch = Watch(progress=lambda done, total: told.append((done, total)))
    return Fitted(small(name).fit(given.train, given.validation, seed=5, watch=watch), told, given, parts_of(name))


def histories() -> list[Query]:
    now = START_MS + 10_000_000
    return [Query.of([], now), Query.of([3], now), Query.of([3, 4, 5], now, user=0), Query.of([ITEMS + 1, 0, 0, 9], now, user=7)]


@each_model
def test_the_same_seed_gives_the_same_scores(name: str) -> None:
    parts = parts_of(name)
    again = small(name).fit(parts.train, parts.validation, seed=5)
    np.testing.assert_array_equal(again.score(histories()), usual(name).scorer.score(histories()))


@each_model
def test_a_scorer_comes_back_from_its_arrays_bit_for_bit(name: str) -> None:
    scorer = usual(name).scorer
    arrays = {key: array.copy() for key, array in scorer.arrays().items()}
    for array in arrays.values():
        array.setflags(write=False)
    back = load_scorer(scorer.kind, arrays, deepcopy(dict(scorer.settings())))
    assert type(back) is type(scorer)
    np.testing.assert_array_equal(back.score(histories()), scorer.score(histories()))


@each_model
def test_scores_are_finite_for_anybody(name: str) -> None:
    scores = usual(name).scorer.score(histories())
    assert scores.shape == (4, LOG.catalogue.size)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@each_model
def test_nobody_asked_is_no_scores(name: str) -> None:
    assert usual(name).scorer.score([]).shape == (0, LOG.catalogue.size)


@each_model
def test_some_items_score_as_they_do_among_all(name: str) -> None:
    some = np.array([30, 0, 7])
    for query in histories():
        np.testing.assert_allclose(
            usual(name).scorer.score_some(query, some), usual(name).scorer.score([query])[0][some], rtol=1e-4, atol=1e-5
        )


@each_model
def test_who_else_is_asked_changes_nothing(name: str) -> None:
    together = usual(name).scorer.score(histories())
    alone = np.concatenate([usual(name).scorer.score([query]) for query in histories()])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@each_model
def test_what_a_model_is_given_stays_as_it_is(name: str) -> None:
    asked, kept, found = histories(), histories(), usual(name)
    found.scorer.score(asked)
    for log, before in zip(found.given, found.before, strict=True):
        for column in ("users", "items", "timestamps", "ratings"):
            np.testing.assert_array_equal(getattr(log, column), getattr(before, column))
        assert log.catalogue.ids == before.catalogue.ids
    for query, untouched in zip(asked, kept, strict=True):
        np.testing.assert_array_equal(query.items, untouched.items)
        np.testing.assert_array_equal(query.weights, untouched.weights)


@each_model
def test_an_empty_log_and_one_of_one_item_are_refused(name: str) -> None:
    log = log_of(name)
    nothing = log.part(0, 0)
    with pytest.raises(InvalidInput, match="empty"):
        small(name).fit(nothing, nothing, seed=1)
    one = log.chosen(log.items == log.items[0])
    with pytest.raises(InvalidInput, match="item"):
        small(name).fit(one, nothing, seed=1)


@each_model
def test_one_user_with_items_without_text_and_nothing_later_is_enough(name: str) -> None:
    bare = without_text(log_of(name))
    scores = small(name).fit(bare.chosen(bare.users == 0), bare.part(0, 0), seed=1).score(histories())
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", [name for name in THERE if name not in BY_RATINGS])  # those foretell ratings, see test_deep_parts
def test_better_than_chance(name: str) -> None:
    parts = parts_of(name)
    asked = questions(parts.train, parts.test)
    reached = judge(name, usual(name).scorer, asked, parts.train, seed=1).metrics["recall@10"].mean
    chance = 10 / (LOG.catalogue.size - 4)  # four items of each user are left out
    personal = name not in {"popularity", "popularity_all_time"}
    assert reached > (1.4 * chance if personal else 0.5 * chance)


@each_model
def test_progress_is_told_and_ends(name: str) -> None:
    told = usual(name).told
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][0] <= told[-1][1]


def test_names_are_unique_and_an_unknown_one_is_told_the_known_ones() -> None:
    assert len(set(NAMES)) == len(NAMES)
    with pytest.raises(InvalidInput, match=r"'mystery'; known: popularity, .*wide_deep"):
        entry("mystery")


@each_model
def test_the_catalogue_calls_a_model_as_it_calls_itself(name: str) -> None:
    assert model_class(name).name == name
