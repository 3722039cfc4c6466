"""The result of an evaluation as tables for a person; the best value of each column is bold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from rich.table import Table
from rich.text import Text

from evaluation.judgement import Judgement
from ops.evaluate import Evaluation
from ops.terminal import output

_SMALLER_IS_BETTER: Final = {"gini"}
_NEITHER: Final = {"mean_popularity"}
_DECIMALS: Final = {"mean_popularity": 0, "novelty": 2}
_SEGMENTS: Final = {
    "cold_users": "cold users (< 3 events)",
    "warm_users": "warm users",
    "new_items": "new items (< 5 events)",
    "old_items": "old items",
}


def print_evaluation(done: Evaluation) -> None:
    """Tables on stdout: all metrics, Recall@10 by segment, and what was run."""
    console = output()
    if done.judgements[0].questions == 0:
        console.print(Text("no event counts: all of them are warm-up or no questions (more events are needed)"))
        return
    console.print(metric_table(done.judgements))
    console.print()
    console.print(segment_table(done.judgements))
    for line in _facts(done):
        console.print(Text(line), soft_wrap=True)


def metric_table(judgements: Sequence[Judgement]) -> Table:
    """One row a model: Recall@10 with its interval, and every other metric."""
    metrics = list(judgements[0].metrics)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model")
    for name in metrics:
        table.add_column(name, justify="right", no_wrap=True)
        if name == "recall@10":
            table.add_column("95 % interval", justify="right", no_wrap=True)
    best = {name: _best(name, [one.metrics[name] for one in judgements if not _sampled(one, judgements)]) for name in metrics}
    for one in judgements:
        for m, name in enumerate(one.names):
            table.add_row(*_metric_row(one, m, name + (" *" if _sampled(one, judgements) else ""), best))
    return table


def _metric_row(one: Judgement, m: int, label: str, best: Mapping[str, float]) -> Iterable[Text]:
    yield Text(label)
    for name, column in one.metrics.items():
        yield _cell(float(column[m]), _DECIMALS.get(name, 4), best[name])
        if name == "recall@10" and one.recall is not None:
            yield Text(f"{one.recall.low[m]:.4f} - {one.recall.high[m]:.4f}")


def segment_table(judgements: Sequence[Judgement]) -> Table:
    """One row a model: Recall@10 in each segment."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("recall@10")
    for name, title in _SEGMENTS.items():
        table.add_column(f"{title}\n{judgements[0].segments[name][0]:,} questions", justify="right")
    columns = {name: [_segment(one, name) for one in judgements if not _sampled(one, judgements)] for name in _SEGMENTS}
    best = {name: _best("recall@10", values) for name, values in columns.items()}
    for one in judgements:
        for m, model in enumerate(one.names):
            cells = [_cell(float(_segment(one, name)[m]), 4, best[name]) for name in _SEGMENTS]
            table.add_row(Text(model + (" *" if _sampled(one, judgements) else "")), *cells)
    return table


def _segment(one: Judgement, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    _, metrics = one.segments[name]
    return metrics.get("recall@10", np.full(len(one.names), np.nan))


def _sampled(one: Judgement, judgements: Sequence[Judgement]) -> bool:
    """Whether a judgement stands on fewer questions than the others."""
    return one.questions < max(other.questions for other in judgements)


def _best(name: str, columns: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]) -> float:
    values = np.concatenate(columns)
    if name in _NEITHER or np.isnan(values).all():
        return np.nan
    return float(np.nanmin(values) if name in _SMALLER_IS_BETTER else np.nanmax(values))


def _cell(value: float, decimals: int, best: float) -> Text:
    shown = "-" if np.isnan(value) else f"{value:.{decimals}f}"
    return Text(shown, style="bold" if value == best else "")


def _facts(done: Evaluation) -> Iterable[str]:
    main = done.judgements[0]
    yield ""
    yield (
        f"{done.stream.name}, mode {done.mode}, seed {done.settings.seed}: {done.events:,} events, {main.questions:,} questions "
        f"after the warm-up (first 20 %); {main.new_items / main.questions:.1%} ask for an item never seen before, a miss for all"
    )
    if "blend" in main.names:
        yield f"{main.reachable / main.questions:.1%} of the questions had their item among the blend's candidates"
    for one in done.judgements:
        if _sampled(one, done.judgements):
            names = ", ".join(one.names)
            yield f"* {names}: slow, so asked only {one.questions:,} of the questions, drawn at random; learnt from all events"
    speed = f"{done.events / done.replay_seconds:,.0f} events/s, " if done.replay_seconds else ""
    yield f"{speed}{done.seconds:.1f} s in all, peak memory {done.peak_memory_mib:,.0f} MiB"
