"""`freshet batch train blend_ranker`: read logged slates from the lake, train, judge, publish, tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ops.batch_source import LAKE
from ops.terminal import print_table
from schemas.errors import InvalidInput

if TYPE_CHECKING:
    from batch.blend_ranking import JudgedRanker, TrainedRanker
    from batch.promotion import Published
    from batch.slates.logged import LoggedSlates
    from evaluation.intervals import Interval

Say = Callable[[str], None]
_FIRST_PLACES: Final = 10


class Done(NamedTuple):
    """What was read, learnt and published; `published` is None where nobody asked for it."""

    logged: LoggedSlates
    trained: TrainedRanker
    published: Published | None


def checked_lake(data: str) -> str:
    """Where the lake of `--data` is.

    Raises:
        InvalidInput: it is no lake.
    """
    if not data.startswith(LAKE):
        raise InvalidInput(f"--data {data}: blend_ranker learns from logged impressions; expected lake: and the place of a lake")
    return data.removeprefix(LAKE)


def checked_root(root: Path | None) -> Path:
    """The folder of the published models.

    Raises:
        InvalidInput: there is none.
    """
    if root is None:
        raise InvalidInput("--publish needs the folder of the published models: --root or FRESHET_MODELS")
    return root


def train(place: str, loss: str, seed: int, window: int, root: Path | None, say: Say) -> Done:
    """Train on the lake; with a root, publish.

    Args:
        window: ms after an impression within which a click counts for it.

    Raises:
        InvalidInput: a lake without slates to learn from, or an unknown loss. TrainingFailed, NotStored: what serves goes on.
    """
    from batch.blend_ranking import network_of, train_blend_ranker  # noqa: PLC0415 - TensorFlow only where something is trained
    from batch.lake.reading import open_lake  # noqa: PLC0415
    from batch.slates.logged import read_logged  # noqa: PLC0415

    network = network_of(loss)
    logged = read_logged(open_lake(place), window)
    say(f"{logged.slates.size:,} slates with features {logged.features}")
    for why, count in sorted(logged.left_out.items()):
        say(f"left out: {count:,} {why}")
    trained = train_blend_ranker(logged, network, seed, say)
    return Done(logged, trained, None if root is None else _published(root, logged, trained, seed))


def _published(root: Path, logged: LoggedSlates, trained: TrainedRanker, seed: int) -> Published:
    from batch.ranker_promotion import RankerRun, publish_trained_ranker  # noqa: PLC0415 - as in `train`
    from ops.batch_run import last_offsets  # noqa: PLC0415

    run = RankerRun(last_offsets(dict(logged.offsets)), version("freshet"), seed, time.time_ns() // 1_000_000)
    return publish_trained_ranker(root, trained, run)


def as_document(done: Done) -> dict[str, Any]:
    """The result as JSON."""
    trained, split = done.trained, done.trained.contest.split
    return {
        "slates": {"train": len(split.train), "test": len(split.test), "test_clicked": len(trained.questions)},
        "features": done.logged.features,
        "window_ms": done.logged.window,
        "left_out": dict(done.logged.left_out),
        "boundary": split.boundary,
        "seed": trained.contest.seed,
        "loss": trained.loss,
        "epochs": trained.length,
        "rankers": {name: _figures(one) for name, one in trained.figures.items()},
        "place_bias": [round(one, 4) for one in trained.place_bias.tolist()],
        "published": _told(done.published),
    }


def _told(published: Published | None) -> dict[str, Any] | None:
    if published is None:
        return None
    return {"version": published.version, "serves": published.verdict.promote, "reasons": published.verdict.reasons}


def _figures(one: JudgedRanker) -> dict[str, float]:
    named = {"ndcg@10": one.ndcg, "over_blend": one.gain}
    bounds = {name: zip(("", "_low", "_high"), found, strict=True) for name, found in named.items()}
    return {f"{name}{bound}": float(value[0]) for name, pairs in bounds.items() for bound, value in pairs}


def print_done(done: Done) -> None:
    """Tables on stdout, the best last."""
    trained, split = done.trained, done.trained.contest.split
    print(
        f"{len(split.train):,} slates to learn from, {len(split.test):,} to judge by (from {split.boundary}), "
        f"{len(trained.questions):,} of them clicked; seed {trained.contest.seed}"
    )
    rising = sorted(trained.figures.items(), key=lambda one: float(one[1].ndcg.mean[0]))
    print_table(("ranker", "NDCG@10", "95 %", "over the blend", "95 %"), [_row(name, one) for name, one in rising])
    print(f"what the places add to a score: {' '.join(f'{one:+.2f}' for one in trained.place_bias[:_FIRST_PLACES].tolist())}")
    if done.published is not None:
        print(f"version {done.published.version}: {'serves' if done.published.verdict.promote else 'refused, in the shadow'}")
        for reason in done.published.verdict.reasons:
            print(f"  {reason}")


def _row(name: str, one: JudgedRanker) -> tuple[str, ...]:
    return (name, *_bounds(one.ndcg, ""), *_bounds(one.gain, "+"))


def _bounds(found: Interval, sign: str) -> tuple[str, str]:
    mean, low, high = (float(bound[0]) for bound in found)
    return f"{mean:{sign}.4f}", f"{low:{sign}.4f} to {high:{sign}.4f}"
