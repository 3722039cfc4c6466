"""The outcome of `freshet evaluate diversity` as a table for a person, and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from ops.diversity_price import KNOBS, Price
from ops.terminal import output

_DECIMALS: Final = {"intra_list_diversity": 3, "category_coverage": 3, "miscalibration": 3, "mean_popularity": 0}
_SHORT: Final = {"intra_list_diversity": "unlike", "category_coverage": "categories", "mean_popularity": "popularity"}
_COLOURS: Final = {"mmr": "#D55E00", "dpp": "#0072B2"}
_INCHES: Final = (11.0, 5.0)


def print_price(done: Price) -> None:
    """One row for each method and value of the knob."""
    console = output()
    table = Table(box=None, header_style="bold", pad_edge=False)
    names = list(next(iter(done.metrics.values())))
    titles = [_SHORT.get(name, name) for name in names[1:]]
    for title in ("method", "diversity", "recall@10", "95 % interval", "minus none", "95 % interval", *titles):
        table.add_column(title, justify="left" if title == "method" else "right", no_wrap=True)
    for method in done.metrics:
        for at in range(len(KNOBS)):
            table.add_row(*_row(done, method, at))
    console.print(table)
    about = f"{done.questions:,} questions, {done.categories} categories, {done.seconds:.0f} s"
    console.print(Text(about), soft_wrap=True)
    console.print(Text("unlike: intra-list diversity; categories: share of all; popularity: mean count of an item"), soft_wrap=True)


def _row(done: Price, method: str, at: int) -> list[str]:
    metrics, lost = done.metrics[method], done.lost[method]
    recall = metrics["recall@10"]
    others = [f"{one.mean[at]:.{_DECIMALS.get(name, 4)}f}" for name, one in metrics.items() if name != "recall@10"]
    return [
        method, f"{KNOBS[at]:.1f}", f"{recall.mean[at]:.4f}", f"{recall.low[at]:.4f} to {recall.high[at]:.4f}",
        f"{lost.mean[at]:+.4f}", f"{lost.low[at]:+.4f} to {lost.high[at]:+.4f}", *others,
    ]  # fmt: skip


def draw_price(done: Price, figure: Any) -> None:
    """Relevance against diversity, one point for each value of the knob; and what else the knob moves."""
    trade, rest = figure.subplots(1, 2)
    for method, metrics in done.metrics.items():
        recall, diversity = metrics["recall@10"], metrics["intra_list_diversity"]
        style: dict[str, Any] = {"color": _COLOURS[method], "label": method}
        trade.plot(diversity.mean, recall.mean, marker="o", markersize=4, **style)
        trade.fill_between(diversity.mean, recall.low, recall.high, color=_COLOURS[method], alpha=0.12, linewidth=0)
        for at in range(0, len(KNOBS), 2):
            trade.annotate(f"{KNOBS[at]:g}", (diversity.mean[at], recall.mean[at]), (4, 4), textcoords="offset points", fontsize=8)
        for name, dashes in (("miscalibration", "-"), ("category_coverage", "--")):
            rest.plot(KNOBS, metrics[name].mean, dashes, color=_COLOURS[method], label=f"{name}, {method}")
    trade.set(xlabel="intra-list diversity of ten items", ylabel="Recall@10", ylim=(0, None))
    trade.legend(frameon=False, loc="lower left")
    rest.set(xlabel="diversity", ylim=(0, None))
    rest.legend(frameon=False)
    about = f"{done.questions:,} questions, mode {done.mode}"
    figure.suptitle(f"{done.stream.name}: the price of diversity ({about})", fontweight="bold")


def plot_price(done: Price, path: Path) -> None:
    """Draw it into a file.

    Raises:
        InvalidInput: the file cannot be written.
    """
    from ops.evaluate_plot import save_figure  # noqa: PLC0415 - matplotlib takes a second to import

    save_figure(path, _INCHES, lambda figure: draw_price(done, figure))
