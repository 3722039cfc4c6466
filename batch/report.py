"""What a run of several models says: one row a model, and in words where a deep model is not worth its cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from batch.judging import Estimate, Judgement, difference
from batch.models.interface import Epoch
from stream_workers.models.deep.scorer import Scorer

REFERENCES: Final = ("ease", "ials", "popularity")
"""The baselines that a deep model must beat to be worth its cost."""


class Cost(NamedTuple):
    """What a model takes.

    Attributes:
        seconds: of training. megabytes: of its arrays where it serves. parameters: numbers in them.
    """

    seconds: float
    megabytes: float
    parameters: int


class Trained(NamedTuple):
    """One model of a run; `began`: which weights it began with, or why none; "" where there is nothing to tell.

    `importance`: how much quality on the validation part is lost when a group of features is shuffled, see `batch.shuffling`.
    `rmse`: of models that foretell ratings, on the test part, beside simple guesses; see `rating_errors`.
    """

    judgement: Judgement
    cost: Cost
    epochs: tuple[Epoch, ...]
    deep: bool
    began: str = ""
    importance: Mapping[str, float] = MappingProxyType({})
    rmse: Mapping[str, float] = MappingProxyType({})

    @property
    def name(self) -> str:
        """As people type it."""
        return self.judgement.name


class Run(NamedTuple):
    """A training of several models on one log.

    Attributes:
        source, split, seed, exclude_taken: as it was asked for.
        users, items, train, validation, test: sizes; the last three in interactions.
    """

    source: str
    split: str
    seed: int
    exclude_taken: bool
    users: int
    items: int
    train: int
    validation: int
    test: int
    models: tuple[Trained, ...]


def cost_of(scorer: Scorer, seconds: float) -> Cost:
    """The cost of a trained model."""
    arrays = scorer.arrays().values()
    return Cost(seconds, sum(array.nbytes for array in arrays) / 1e6, sum(array.size for array in arrays))


def verdicts(run: Run) -> list[str]:
    """A sentence for each deep model: which baselines of the run it is above, by the interval of the difference of Recall@10."""
    return [sentence for model in run.models if model.deep for sentence in _verdict(model, run)]


def _verdict(model: Trained, run: Run) -> Iterable[str]:
    against = [
        (other.name, difference(model.judgement, other.judgement, seed=run.seed))
        for other in run.models
        if other.name in REFERENCES
    ]
    failed = [(name, found) for name, found in against if found.low <= 0]
    recall = f"{model.judgement.metrics['recall@10'].mean:.4f}"
    if failed:
        reasons = "; ".join(f"{name}: {_signed(found)}" for name, found in failed)
        yield f"{model.name} is not worth its cost here: its Recall@10 of {recall} is not significantly above {reasons}"
    elif against:
        names = ", ".join(name for name, _ in against)
        yield f"{model.name} is significantly above {names} (Recall@10 {recall})"


def _signed(found: Estimate) -> str:
    return f"{found.mean:+.4f}, interval {found.low:+.4f} to {found.high:+.4f}"


def as_document(run: Run) -> dict[str, Any]:
    """The run as JSON."""
    facts = {name: value for name, value in run._asdict().items() if name != "models"}
    return {**facts, "models": [_entry(model) for model in run.models], "verdicts": verdicts(run)}


def _entry(model: Trained) -> dict[str, Any]:
    one = model.judgement
    segments = {
        name: {"users": found.users, "recall@10": found.recall if found.users else None} for name, found in one.segments.items()
    }
    return {
        "name": one.name,
        "deep": model.deep,
        "questions": one.users,
        "metrics": {name: estimate._asdict() for name, estimate in one.metrics.items()},
        "coverage@10": one.coverage,
        "segments": segments,
        "cost": model.cost._asdict(),
        "epochs": [epoch._asdict() for epoch in model.epochs],
        "began": model.began or None,
        "importance": dict(model.importance),
        "rmse": dict(model.rmse),
    }


def best_first(models: Sequence[Trained]) -> list[Trained]:
    """By Recall@10."""
    return sorted(models, key=lambda model: -model.judgement.metrics["recall@10"].mean)
