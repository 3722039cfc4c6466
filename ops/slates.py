"""`freshet evaluate slates` and `freshet batch train ranker`: read slates, hold the contest, train the network that serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from batch.models.slate_model import SlateModel
from batch.slates.columns import Split, split_by_time
from batch.slates.features import feature_table, usual_patience
from batch.slates.rankers import Contest, Ranked, best_by_validation, hold_contest
from batch.slates.reading import Reading, events_file, read_slates
from batch.slates.selection import Selection, select
from evaluation.intervals import Interval, paired_difference, user_blocked
from ops.output_path import checked_output
from schemas.errors import InvalidInput
from stream_workers.models.deep.ranker import SlateRanker

Say = Callable[[str], None]
BASELINE: Final = "smoothed_ctr"
_RANKLENS: Final = (7829, 1_636_994_419_000)
"""Slates and boundary of the copy of RankLens that Freshet's figures are of."""


class Judged(NamedTuple):
    """A ranker's figures on the test; bounds at 95 %, whole sessions resampled.

    Attributes:
        validation: NDCG@10 before the test. ndcg: its mean with bounds. gain: NDCG@10 minus that of smoothed CTR, with bounds.
        mrr: mean reciprocal rank. seconds: both fits and scoring. length: epochs or rounds.
    """

    validation: float
    ndcg: Interval
    gain: Interval
    mrr: float
    seconds: float
    length: int | None


class SlatesResult(NamedTuple):
    """What `evaluate slates` found; `feature_seconds` is what the features took, which all rankers share."""

    dataset: str
    reading: Reading
    contest: Contest
    rankers: Mapping[str, Judged]
    best: str
    feature_seconds: float
    selection: Selection | None


class Trained(NamedTuple):
    """The network that serves: its figures before the test and on it, and what it is in NumPy."""

    ranker: SlateRanker
    length: int
    validation: float
    test: float
    features: tuple[str, ...]
    patience: int


def evaluate_slates(path: Path, seed: int, say: Say, *, features: bool) -> SlatesResult:
    """All rankers side by side on the slates of a file or folder; `features` adds which features matter.

    Raises:
        InvalidInput: no such file, no slates in it, or too few for a split.
    """
    from batch.models.slate_linear import LinearSlates  # noqa: PLC0415 - as in `_models`

    reading, contest, patience, seconds = _contest(path, seed, say)
    say(f"features: {len(contest.table.names)} of {contest.slates.size:,} slates, patience {patience / 1000:g} s, {seconds:.0f} s")
    ranked = hold_contest(contest, _models(), say)
    selection = select(contest, LinearSlates()) if features else None
    best = best_by_validation(contest, ranked)
    return SlatesResult(path.resolve().stem, reading, contest, _judged(contest, ranked), best, seconds, selection)


def _contest(path: Path, seed: int, say: Say) -> tuple[Reading, Contest, int, float]:
    reading = read_slates(path)
    for fault in reading.faults.first:
        say(f"left out: {fault}")
    if reading.faults.bad:
        say(f"{reading.faults.bad:,} of {reading.faults.lines:,} lines of {events_file(path)} were left out")
    split, begun = split_by_time(reading.slates), time.perf_counter()
    patience = usual_patience(reading.slates, split.train)
    table = feature_table(reading.slates, patience)
    return reading, Contest(reading.slates, table, split, seed), patience, time.perf_counter() - begun


def _models() -> list[SlateModel]:
    """Imported here: TensorFlow and LightGBM are loaded only where something is trained."""
    from batch.models.ranker import RankingNetwork  # noqa: PLC0415
    from batch.models.ranker_losses import LOSSES  # noqa: PLC0415
    from batch.models.slate_linear import LinearSlates  # noqa: PLC0415
    from batch.models.slate_trees import LambdaMart  # noqa: PLC0415

    return [LinearSlates(), LambdaMart(), *(RankingNetwork(loss=loss) for loss in LOSSES)]


def _judged(contest: Contest, ranked: Mapping[str, Ranked]) -> dict[str, Judged]:
    split = contest.split
    judged = split.test[contest.slates.judged()[split.test]]
    sessions, rng = contest.slates.sessions[judged], np.random.default_rng(contest.seed)
    against = contest.judge(ranked[BASELINE].test, split.test).ndcg
    figures = {}
    for name, one in ranked.items():
        found = contest.judge(one.test, split.test)
        figures[name] = Judged(
            contest.mean_ndcg(one.validation, split.validation),
            user_blocked(found.ndcg, sessions, rng),
            paired_difference(found.ndcg, against, rng, sessions),
            float(found.reciprocal_rank.mean()),
            one.seconds,
            one.length,
        )
    return figures


def as_document(done: SlatesResult) -> dict[str, Any]:
    """The result as JSON; `ranklens_ndcg10` is null for other slates than RankLens'."""
    split, slates = done.contest.split, done.contest.slates
    best = float(done.rankers[done.best].ndcg.mean[0])
    document: dict[str, Any] = {
        "dataset": done.dataset,
        "slates": {"train": len(split.train), "test": len(split.test), "test_clicked": int(slates.judged()[split.test].sum())},
        "lines_left_out": done.reading.faults.bad,
        "boundary": split.boundary,
        "seed": done.contest.seed,
        "feature_seconds": round(done.feature_seconds, 2),
        "rankers": {name: _figures(one) for name, one in done.rankers.items()},
        "best": done.best,
        "ranklens_ndcg10": best if is_ranklens(slates.size, split) else None,
    }
    if done.selection is not None:
        document["features"] = {
            "validation_ndcg@10": done.selection.whole,
            "groups": [group._asdict() for group in done.selection.groups],
            "importances": [one._asdict() for one in done.selection.importances],
        }
    return document


def is_ranklens(size: int, split: Split) -> bool:
    """Whether these are the slates that published figures of RankLens in Freshet are of."""
    return (size, split.boundary) == _RANKLENS


def _figures(one: Judged) -> dict[str, float | int | None]:
    return {
        "ndcg@10": float(one.ndcg.mean[0]),
        "low": float(one.ndcg.low[0]),
        "high": float(one.ndcg.high[0]),
        "mrr": one.mrr,
        "seconds": round(one.seconds, 2),
        "validation_ndcg@10": one.validation,
        "over_smoothed_ctr": float(one.gain.mean[0]),
        "over_smoothed_ctr_low": float(one.gain.low[0]),
        "over_smoothed_ctr_high": float(one.gain.high[0]),
        "epochs_or_rounds": one.length,
    }


def train_ranker(path: Path, loss: str, seed: int, say: Say) -> Trained:
    """Train the network with one loss: choose its epochs before the test, learn all of the training, judge it as it serves.

    Raises:
        InvalidInput: as `evaluate_slates`, or an unknown loss.
    """
    from batch.models.ranker import RankingNetwork, to_serve  # noqa: PLC0415 - as in `_models`

    model = RankingNetwork(loss=loss)
    _, contest, patience, _ = _contest(path, seed, say)
    split, early, whole = contest.split, contest.scale(contest.split.fit), contest.scale(contest.split.train)
    later = contest.lists(split.validation, early)
    chosen = model.fit(contest.lists(split.fit, early), (later, contest.judge_of(split.validation)), seed)
    served = to_serve(model.train(contest.lists(split.train, whole), chosen.length, seed), whole)
    scores = served.score(contest.table.values[split.test], contest.slates.shown[split.test]).astype(np.float64)
    validation = contest.mean_ndcg(chosen.score(later), split.validation)
    return Trained(served, chosen.length, validation, contest.mean_ndcg(scores, split.test), contest.table.names, patience)


def checked_out(path: Path | None) -> Path | None:
    """The file of `--out`; see `checked_output`."""
    return checked_output("--out", path, (".safetensors",))


def write_ranker(done: Trained, path: Path) -> None:
    """The arrays of the NumPy network, with the names of its features and its patience (ms) as text beside them.

    Raises:
        InvalidInput: the file cannot be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415

    facts = {"features": "\n".join(done.features), "patience_ms": str(done.patience)}
    try:
        path.write_bytes(save(dict(done.ranker.arrays()), facts))
    except OSError as error:
        raise InvalidInput(f"--out {path} cannot be written: {error.strerror or error}") from error
