"""The gate: what gets through, what does not, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from batch.registry.gate import BASELINES, GateRules, Judged, judge
from evaluation.intervals import paired_difference
from schemas.errors import InvalidInput

N = 4000
SEED = 5


def hits(share: float, seed: int, count: int = N) -> np.ndarray:
    """Answers of a model that is right about that share of the questions."""
    return (np.random.default_rng(seed).random(count) < share).astype(np.float64)


def improved(answers: np.ndarray, share: float, seed: int = 9) -> np.ndarray:
    """The same answers, but right about so many more of all questions (wrong about, if negative)."""
    rng, changed = np.random.default_rng(seed), answers.copy()
    wrong = np.flatnonzero(answers == (share < 0))
    changed[rng.choice(wrong, round(abs(share) * len(answers)), replace=False)] = float(share > 0)
    return changed


SERVING = hits(0.30, 1)
BETTER = improved(SERVING, 0.03)
WEAK = {name: hits(0.10, 2 + at) for at, name in enumerate(BASELINES)}


def at_random(gain: float) -> np.ndarray:
    """Right about so many more questions than the serving version, but about others."""
    answers = hits(0.30, 8)
    return improved(answers, SERVING.mean() + gain - answers.mean())


def judged(**others: Any) -> Judged:
    return Judged(**{"candidate": BETTER, "serving": SERVING, "baselines": WEAK, **others})


def verdict(rules: dict[str, Any] | None = None, **others: Any) -> tuple[bool, str]:
    said = judge(judged(**others), SEED, GateRules(**rules or {}))
    assert all(np.isfinite(value) for value in said.figures.values())
    assert all(reason.endswith(".") and reason[0].isupper() for reason in said.reasons)
    return said.promote, " ".join(said.reasons)


def test_a_better_candidate_gets_through_and_every_check_is_told() -> None:
    said = judge(judged(), SEED)
    assert said.promote
    assert [reason.split(":")[0] for reason in said.reasons] == [f"It beats {name}" for name in ("the serving version", *BASELINES)]
    interval = paired_difference(BETTER, SERVING, np.random.default_rng(SEED))
    shown = {name: said.figures[f"serving.{name}"] for name in ("candidate", "other", "low", "high")}
    expected = {"candidate": BETTER.mean(), "other": SERVING.mean(), "low": interval.low[0], "high": interval.high[0]}
    assert shown == pytest.approx(expected)
    assert shown["low"] > 0


def test_the_same_seed_gives_the_same_verdict() -> None:
    assert judge(judged(), 3) == judge(judged(), 3)
    assert judge(judged(), 3).figures != judge(judged(), 4).figures


@pytest.mark.parametrize("gain", [-0.03, 0.0, 0.0005])
def test_what_is_not_surely_better_does_not_get_through(gain: float) -> None:
    promote, said = verdict(candidate=improved(SERVING, gain))
    assert not promote
    assert "It is not surely better than the serving version" in said
    assert "beats" not in said


def test_a_gain_within_the_noise_of_the_questions_does_not_get_through() -> None:
    lucky = at_random(0.01)
    assert lucky.mean() > 1.02 * SERVING.mean()
    assert verdict(candidate=lucky)[0] is False
    assert verdict(candidate=improved(SERVING, 0.01))[0] is True  # the same gain, on the same questions


def test_a_gain_below_the_margin_is_not_worth_a_swap() -> None:
    small = improved(SERVING, 0.01)
    assert verdict({"margin": 0.02}, candidate=small)[0] is True
    promote, said = verdict({"margin": 0.10}, candidate=small)
    assert not promote
    assert "better than the serving version, but by less than 10.0%" in said


def test_a_stricter_level_asks_for_more() -> None:
    levels = [verdict({"level": level}, candidate=at_random(0.02))[0] for level in (0.5, 0.999)]
    assert levels == [True, False]


def test_whole_users_are_resampled_where_they_are_given() -> None:
    few = np.repeat(np.arange(8), N // 8)  # all the gain comes from one user
    gain = improved(SERVING, 0.0)
    gain[few == 3] = 1.0
    assert verdict(candidate=gain)[0] is True
    assert verdict(candidate=gain, users=few)[0] is False


# --- protected segments ---------------------------------------------------------------------------------------------------

NEW_USERS = np.arange(N) % 8 == 0
LOST_ON_NEW = np.where(NEW_USERS, hits(0.15, 3), np.maximum(SERVING, improved(SERVING, 0.08)))


def test_a_loss_on_a_protected_segment_stops_it_however_good_it_is_elsewhere() -> None:
    rules = {"protected": ("new_users",)}
    assert LOST_ON_NEW.mean() > 1.05 * SERVING.mean()
    promote, said = verdict(rules, candidate=LOST_ON_NEW, segments={"new_users": NEW_USERS})
    assert not promote
    assert said.startswith("On the segment new_users it loses more than 5.0%")
    assert verdict(candidate=LOST_ON_NEW, segments={"new_users": NEW_USERS})[0] is True  # not protected


def test_a_small_loss_within_the_tolerance_passes() -> None:
    slightly = BETTER.copy()
    slightly[np.flatnonzero(NEW_USERS & (BETTER == 1))] = SERVING[np.flatnonzero(NEW_USERS & (BETTER == 1))]
    slightly[np.flatnonzero(NEW_USERS & (slightly == 1))[:6]] = 0
    loss = 1 - slightly[NEW_USERS].mean() / SERVING[NEW_USERS].mean()
    assert 0.02 < loss < 0.05
    segments = {"new_users": NEW_USERS}
    assert verdict({"protected": ("new_users",)}, candidate=slightly, segments=segments)[0] is True
    assert verdict({"protected": ("new_users",), "tolerance": 0.01}, candidate=slightly, segments=segments)[0] is False


def test_a_segment_with_too_few_questions_is_left_out_and_named() -> None:
    rules = {"protected": ("new_users",), "least_in_segment": 501}
    promote, said = verdict(rules, candidate=LOST_ON_NEW, segments={"new_users": NEW_USERS})
    assert promote
    assert "Segment new_users was left out: 500 questions, at least 501 are needed." in said


def test_a_protected_segment_that_nobody_measured_stops_it() -> None:
    promote, said = verdict({"protected": ("new_users",)})
    assert not promote
    assert "The protected segment new_users is not among the segments." in said


def test_a_segment_without_any_hit_cannot_get_worse() -> None:
    serving = np.where(NEW_USERS, 0.0, SERVING)
    candidate = np.where(NEW_USERS, 0.0, BETTER)
    said = verdict({"protected": ("new_users",)}, candidate=candidate, serving=serving, segments={"new_users": NEW_USERS})
    assert said[0] is True


# --- baselines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("serving", [SERVING, None])
def test_every_baseline_must_be_beaten(name: str, serving: np.ndarray | None) -> None:
    promote, said = verdict(serving=serving, baselines={**WEAK, name: improved(BETTER, -0.0005)})
    assert not promote
    assert said.startswith(f"It is not surely better than {name}")


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_that_was_not_asked_stops_it(name: str) -> None:
    promote, said = verdict(baselines={one: answers for one, answers in WEAK.items() if one != name})
    assert (promote, said) == (False, f"It was not compared with {name}, which must be beaten.")


def test_without_a_serving_version_the_baselines_decide() -> None:
    promote, said = verdict({"protected": ("new_users",)}, serving=None)
    assert promote
    assert "serving" not in said


def test_with_nothing_to_compare_with_nothing_gets_through() -> None:
    promote, said = verdict({"baselines": ()}, serving=None, baselines={})
    assert (promote, said) == (False, "There is nothing to compare it with: no serving version, and no baseline to beat.")


# --- what cannot be judged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("who", ["candidate", "serving", "ease"])
def test_answers_that_are_not_finite_are_refused_with_the_reason(bad: float, who: str) -> None:
    broken = BETTER.copy()
    broken[[7, 70]] = bad
    others = {"baselines": {**WEAK, "ease": broken}} if who == "ease" else {who: broken}
    promote, said = verdict(**others)
    named = who if who == "ease" else f"the {who}{' version' if who == 'serving' else ''}"
    assert (promote, said) == (False, f"Of the answers of {named}, 2 are not finite.")


@pytest.mark.parametrize("count", [0, 1, 499])
def test_too_few_questions_decide_nothing(count: int) -> None:
    cut = judged(candidate=BETTER[:count], serving=None, baselines={name: answers[:count] for name, answers in WEAK.items()})
    said = judge(cut, SEED)
    assert (said.promote, said.reasons) == (False, (f"Too few questions: {count}, at least 500 are needed.",))


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ({"serving": SERVING[:-1]}, "serving"),
        ({"baselines": {**WEAK, "ease": SERVING[1:]}}, "ease"),
        ({"candidate": BETTER[:, None]}, "candidate"),
        ({"segments": {"new": NEW_USERS[1:]}}, "new"),
        ({"segments": {"new": NEW_USERS.astype(int)}}, "new"),
        ({"users": np.zeros(3, int)}, "users"),
    ],
)
def test_answers_to_other_questions_are_an_error(others: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        verdict(**others)


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin": -0.1},
        {"level": 1.0},
        {"level": 0.0},
        {"tolerance": 1.0},
        {"least_questions": 0},
        {"resamples": 0},
        {"margin": np.nan},
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="expected margin"):
        GateRules(**wrong)


def test_nothing_of_the_answers_is_changed() -> None:
    before = [column.copy() for column in (BETTER, SERVING, *WEAK.values())]
    verdict({"protected": ("new_users",)}, segments={"new_users": NEW_USERS})
    assert all(np.array_equal(a, b) for a, b in zip(before, (BETTER, SERVING, *WEAK.values()), strict=True))


def test_a_verdict_becomes_the_record_of_the_version() -> None:
    said = judge(judged(), SEED)
    record = said.record(1000, "20261123T120001Z-abcdef")
    assert (record.promote, record.reasons, record.figures) == (True, said.reasons, said.figures)
    assert (record.at_ms, record.against) == (1000, "20261123T120001Z-abcdef")
