"""Random search with successive halving, several groups of settings side by side.

Round 1 asks many choices few questions, each later round a third of them twice as many (Jamieson and Talwalkar, Non-stochastic best
arm identification, AISTATS 2016). Trial j of a round takes the j-th choice of every group; afterwards each group orders its
choices by the score of its own model. The defaults are the first choice of every group. A group leaves them only for what is 1 %
better on all questions: less would be noise. What they chose together, and every trial with all questions, then compete once more
with the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from evaluation.search_space import SPACE, Group, Value

Fields: TypeAlias = dict[str, Value]
Scores: TypeAlias = Mapping[str, float]
Measure: TypeAlias = Callable[[Fields, int], Scores]

_ROUNDS: Final = 3
_KEPT: Final = 3  # one choice in so many goes on to the next round
_MARGIN: Final = 0.01


class Trial(NamedTuple):
    """One replay.

    Attributes:
        round: 1, 2, ...; the last one compares what was found with the defaults.
        questions: how many were asked.
        fields: what differed from the defaults.
        scores: of each model.
    """

    round: int
    questions: int
    fields: Fields
    scores: Scores


class Found(NamedTuple):
    """What a search found; `best` may be the defaults (no fields)."""

    best: Trial
    defaults: Trial
    trials: list[Trial]


def search(
    measure: Measure,
    questions: int,
    trials: int,
    rng: np.random.Generator,
    space: Mapping[str, Group] = SPACE,
    overall: str = "blend",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """Choose settings.

    Args:
        measure: (fields, n) to the score of each model (more is better) when n questions are asked with these fields.
        questions: how many there are at most.
        trials: choices in the first round, at least 1 (the defaults alone).
        overall: the model that decides between what was found and the defaults.
        progress: is told (questions asked, how many there are to ask, at most).

    Raises:
        ValueError: no trials or no questions.
    """
    if trials < 1 or questions < 1:
        raise ValueError(f"trials={trials}, questions={questions}: expected at least 1 of each")
    choices = {name: [{}, *(_draw(group, rng) for _ in range(trials - 1))] for name, group in space.items()}
    plan = _plan(questions, trials)
    total = sum(count * size for count, size in plan) + 2 * questions
    done: list[Trial] = []

    def tried(at: int, fields: Fields, size: int) -> Trial:
        done.append(Trial(at, size, fields, measure(fields, size)))
        progress(sum(trial.questions for trial in done), total)
        return done[-1]

    for at, (count, size) in enumerate(plan, start=1):
        round_trials = [tried(at, _merged([options[j] for options in choices.values()]), size) for j in range(count)]
        left = plan[at][0] if at < len(plan) else 1
        choices = {
            name: _best_choices(choices[name][:count], [trial.scores[group.judge] for trial in round_trials], left)
            for name, group in space.items()
        }
    defaults = tried(len(plan) + 1, {}, questions)
    full = [trial for trial in done if trial.questions == questions]
    winner = _merged([_kept(choices[name][0], group.judge, full, defaults) for name, group in space.items()])
    found = tried(len(plan) + 1, winner, questions) if winner else defaults
    return Found(max([defaults, found, *full], key=lambda trial: trial.scores[overall]), defaults, done)


def _kept(choice: Fields, judge: str, full: Sequence[Trial], defaults: Trial) -> Fields:
    """A group's choice if it was clearly better than the defaults on all questions, else nothing."""
    score = max((trial.scores[judge] for trial in full if choice.items() <= trial.fields.items()), default=-math.inf)
    usual = defaults.scores[judge]
    return choice if score > usual + _MARGIN * abs(usual) else {}


def _plan(questions: int, trials: int) -> list[tuple[int, int]]:
    """(trials, questions) of each round.

    >>> _plan(20_000, 24)
    [(24, 5000), (8, 10000), (3, 20000)]
    """
    halvings = range(_ROUNDS - 1, -1, -1)
    return [(math.ceil(trials / _KEPT**at), max(1, questions >> halving)) for at, halving in enumerate(halvings)]


def _draw(group: Group, rng: np.random.Generator) -> Fields:
    return {field: values.draw(rng) for field, values in group.ranges.items()}


def _merged(parts: Sequence[Fields]) -> Fields:
    return {field: value for part in parts for field, value in part.items()}


def _best_choices(choices: Sequence[Fields], scores: Sequence[float], count: int) -> list[Fields]:
    """The choices with the highest scores; the earlier of equal ones first, so the defaults stay unless something is better."""
    order = np.argsort(-np.asarray(scores), kind="stable")[:count]
    return [choices[int(at)] for at in order]
