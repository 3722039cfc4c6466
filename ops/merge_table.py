"""The outcome of `freshet evaluate merge` as a table for a person."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from ops.merge import Merged
from ops.terminal import output

_TITLES = {
    "alone": "nearline blend alone",
    "trained_once": "with batch models, trained once",
    "retrained": "with batch models, retrained",
}


def print_merged(done: Merged) -> None:
    """Recall@10 of every arm, and what the differences are worth."""
    console = output()
    console.print(_table(done))
    for line in _differences(done):
        console.print(Text(line), soft_wrap=True)


def _table(done: Merged) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in (f"recall@10, {done.questions:,} questions", "blend", *done.plan.models, "trainings", "seconds"):
        table.add_column(title, justify="left" if title.startswith("recall") else "right", no_wrap=True)
    for name, arm in done.arms.items():
        scores = [f"{arm.recall[who]:.4f}" if who in arm.recall else "" for who in ("blend", *done.plan.models)]
        table.add_row(_TITLES[name], *scores, str(arm.trainings), f"{arm.seconds:.0f}")
    return table


def _differences(done: Merged) -> Iterator[str]:
    for name, one in done.differences.items():
        verdict = "no difference is shown" if one.low[0] <= 0 <= one.high[0] else "better" if one.low[0] > 0 else "worse"
        yield f"{name}: {one.mean[0]:+.4f} (95 % interval {one.low[0]:+.4f} to {one.high[0]:+.4f}): {verdict}"
