"""A run of batch models as tables for a person; the best value of each column is bold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from batch.judging import FEW
from batch.report import Run, Trained, best_first, verdicts
from ops.terminal import output

METRICS: Final = ("recall@10", "recall@20", "ndcg@10", "mrr@20")
_INTERVAL_OF: Final = ("recall@10", "ndcg@10")
SEGMENTS: Final[Mapping[str, str]] = {
    "cold_users": f"cold users (< {FEW})",
    "warm_users": "warm users",
    "new_items": f"new items (< {FEW})",
    "old_items": "old items",
    "head": "head",
    "middle": "middle",
    "tail": "tail",
}
Rows = list[list[str]]


def print_run(run: Run) -> None:
    """Tables on stdout: metrics and cost, Recall@10 by segment, what was run, and what is not worth its cost."""
    console = output()
    for header, rows in (metric_rows(run), segment_rows(run)):
        console.print(_table(header, rows))
        console.print()
    if any(model.importance for model in run.models):
        console.print(_table(*importance_rows(run)))
        console.print()
    for line in (*facts(run), *rating_lines(run), *verdicts(run)):
        console.print(Text(line), soft_wrap=True)


def metric_rows(run: Run) -> tuple[list[str], Rows]:
    """Header and one row a model, the best first."""
    header = ["model"]
    for metric in METRICS:
        header += [metric, "95 % interval"] if metric in _INTERVAL_OF else [metric]
    return [*header, "coverage@10", "seconds", "MB", "parameters"], [_metric_row(model) for model in best_first(run.models)]


def _metric_row(model: Trained) -> list[str]:
    row = [model.name]
    for metric in METRICS:
        found = model.judgement.metrics[metric]
        row.append(f"{found.mean:.4f}")
        if metric in _INTERVAL_OF:
            row.append(f"{found.low:.4f} - {found.high:.4f}")
    cost = model.cost
    return [*row, f"{model.judgement.coverage:.3f}", f"{cost.seconds:.1f}", f"{cost.megabytes:,.1f}", f"{cost.parameters:,}"]


def segment_rows(run: Run) -> tuple[list[str], Rows]:
    """Header and one row a model: Recall@10 in each segment."""
    first = run.models[0].judgement.segments
    header = ["recall@10", *(f"{title}\n{first[name].users:,} users" for name, title in SEGMENTS.items())]
    rows = [
        [model.name, *(_number(model.judgement.segments[name].recall) for name in SEGMENTS)] for model in best_first(run.models)
    ]
    return header, rows


def importance_rows(run: Run) -> tuple[list[str], Rows]:
    """Header and one row a model that has groups of features: what shuffling each costs."""
    shown = [model for model in best_first(run.models) if model.importance]
    groups = list(dict.fromkeys(group for model in shown for group in model.importance))
    rows = [[model.name, *(_loss(model.importance.get(group)) for group in groups)] for model in shown]
    return ["validation lost\nwithout", *groups], rows


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def facts(run: Run) -> Iterable[str]:
    """What was run, line by line."""
    kept = "left out" if run.exclude_taken else "ranked too"
    yield (
        f"{run.source}, split {run.split}, seed {run.seed}: {run.users:,} users, {run.items:,} items; "
        f"{run.train:,} interactions to learn, {run.validation:,} to stop by, {run.test:,} to judge"
    )
    yield (
        f"{run.models[0].judgement.users:,} users asked; all {run.items:,} items are ranked, what a user had is {kept}; "
        "intervals by resampling users; head, middle and tail: items with a third of the interactions each"
    )


def rating_lines(run: Run) -> Iterable[str]:
    """How well ratings are foretold, a line for each model that does so."""
    for model in run.models:
        if model.rmse:
            yield f"{model.name}, RMSE of the test's ratings: " + ", ".join(f"{by} {error:.4f}" for by, error in model.rmse.items())


def best_cells(header: Sequence[str], rows: Rows) -> set[tuple[int, int]]:
    """Row and column of the best value of each column of a quality."""
    found = set()
    for column in range(1, len(header)):
        values = [_value(row[column]) for row in rows]
        if header[column].startswith(("seconds", "MB", "parameters", "95 %")) or all(map(math.isnan, values)):
            continue
        best = max(value for value in values if not math.isnan(value))
        found |= {(at, column) for at, value in enumerate(values) if value == best}
    return found


def _value(cell: str) -> float:
    return math.nan if cell == "-" or " " in cell else float(cell.replace(",", ""))


def _table(header: Sequence[str], rows: Rows) -> Table:
    table, best = Table(box=None, header_style="bold", pad_edge=False), best_cells(header, rows)
    style: Callable[[int, int], str] = lambda row, column: "bold" if (row, column) in best else ""  # noqa: E731
    for at, name in enumerate(header):
        table.add_column(name, justify="right" if at else "left", no_wrap=True)
    for r, row in enumerate(rows):
        table.add_row(*(Text(cell, style=style(r, c)) for c, cell in enumerate(row)))
    return table
