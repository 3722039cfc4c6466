"""A run of batch models as one HTML page that needs nothing else: the tables, the verdicts, the plots."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from batch.report import Run, best_first, verdicts
from ops.batch_table import Rows, best_cells, facts, importance_rows, metric_rows, rating_lines, segment_rows
from ops.output_path import checked_output
from schemas.errors import InvalidInput

# Okabe and Ito's colours, which people with any colour blindness can tell apart.
_DEEP: Final = "#0072B2"
_BASELINE: Final = "#999999"
_CURVES: Final = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#999999", "#000000")
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: .25rem .7rem; text-align: right; white-space: pre-line; border-bottom: 1px solid #ddd; vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
td.best { font-weight: 700 }
div.wide { overflow-x: auto } img { max-width: 100% } p.fact { color: #555; margin: .2rem 0 }
"""


def checked_page_path(path: Path | None) -> Path | None:
    """The file of `--html`; see `checked_output`."""
    return checked_output("--html", path, (".html", ".htm"))


def write_page(run: Run, path: Path) -> None:
    """Write the page.

    Raises:
        InvalidInput: the file cannot be written.
    """
    try:
        path.write_text(page(run), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"--html {path} cannot be written: {error.strerror or error}") from error


def page(run: Run) -> str:
    """The page; the same run gives the same text."""
    parts = [f"<h1>Batch models on {escape(run.source)}</h1>"]
    parts += [f'<p class="fact">{escape(line)}</p>' for line in facts(run)]
    parts += [_html_table(*metric_rows(run)), *(f"<p>{escape(line)}</p>" for line in (*rating_lines(run), *verdicts(run)))]
    parts += ["<h2>Quality and cost</h2>", _picture(_draw_quality, run, "Recall@10 with intervals; quality against training time")]
    parts += ["<h2>Recall@10 by segment</h2>", _html_table(*segment_rows(run))]
    if any(model.importance for model in run.models):
        parts += ["<h2>Which features matter</h2>", _html_table(*importance_rows(run))]
        parts += [_picture(_draw_importance, run, "quality lost when a group of features is shuffled")]
    if any(model.epochs for model in run.models):
        parts += ["<h2>Training</h2>", _picture(_draw_epochs, run, "loss and validation by epoch")]
    title = f"<title>Freshet: batch models on {escape(run.source)}</title>"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{title}<style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</html>\n"
    )


def _html_table(header: Sequence[str], rows: Rows) -> str:
    best = best_cells(header, rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(_cells(row, at, best))}</tr>" for at, row in enumerate(rows))
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cells(row: Sequence[str], at: int, best: set[tuple[int, int]]) -> Iterable[str]:
    for column, cell in enumerate(row):
        marked = ' class="best"' if (at, column) in best else ""
        yield f"<td{marked}>{escape(cell)}</td>"


def _picture(draw: Callable[[Any, Run], None], run: Run, described: str) -> str:
    """A PNG inside the page."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11.0, 4.6), layout="constrained")
        draw(figure.subplots(1, 2), run)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=110, metadata={"Software": None})
    return f'<img alt="{escape(described)}" src="data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}">'


def _draw_quality(places: Any, run: Run) -> None:
    bars, costs = places
    models = best_first(run.models)[::-1]
    found = [model.judgement.metrics["recall@10"] for model in models]
    colours = [_DEEP if model.deep else _BASELINE for model in models]
    spans = [[one.mean - one.low for one in found], [one.high - one.mean for one in found]]
    bars.barh([model.name for model in models], [one.mean for one in found], xerr=spans, color=colours, ecolor="#333333", capsize=3)
    bars.set(xlabel="Recall@10 with 95 % interval (blue: deep models)", xlim=(0, None))
    for model, one, colour in zip(models, found, colours, strict=True):
        costs.plot(max(model.cost.seconds, 1e-3), one.mean, "o", color=colour)
        costs.annotate(model.name, (max(model.cost.seconds, 1e-3), one.mean), xytext=(5, 4), textcoords="offset points", fontsize=8)
    costs.set(xscale="log", xlabel="training, seconds", ylabel="Recall@10")


def _draw_importance(places: Any, run: Run) -> None:
    shown = [model for model in best_first(run.models) if model.importance][: len(places)]
    for axes, model in zip(places, shown, strict=False):
        groups = list(model.importance)[::-1]
        axes.barh(groups, [model.importance[group] for group in groups], color=_DEEP)
        axes.axvline(0, color="#444444", linewidth=0.8)
        axes.set(title=model.name, xlabel="validation lost when the group is shuffled")
    for axes in places[len(shown) :]:
        axes.set_visible(False)


def _draw_epochs(places: Any, run: Run) -> None:
    shown = [model for model in run.models if model.epochs]
    for axes, measure in zip(places, ("loss", "validation"), strict=True):
        for at, model in enumerate(shown):
            values = [getattr(epoch, measure) for epoch in model.epochs]
            axes.plot(range(1, len(values) + 1), values, label=model.name, color=_CURVES[at % len(_CURVES)])
        axes.set(xlabel="epoch", ylabel=measure)
        axes.xaxis.get_major_locator().set_params(integer=True)
    places[1].legend(frameon=False, fontsize=8)
