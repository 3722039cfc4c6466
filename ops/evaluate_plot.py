"""Learning curves as a picture: rolling Recall@10 of each model over the stream."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from evaluation.judgement import Curve, Judgement
from evaluation.protocol import warm_up_events
from ops.evaluate import Evaluation
from ops.output_path import checked_output
from schemas.errors import InvalidInput

# Okabe and Ito's colours, which people with any colour blindness can tell apart; dashes tell apart what shares one.
_COLOURS: Final = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#999999")
_DASHES: Final = ("-", (0, (5, 2)), (0, (1, 1.5)))
_BLEND: Final = "#000000"
_PALE: Final = {"facecolor": "#eeeeee", "edgecolor": "none", "alpha": 0.8, "pad": 2}
_INCHES: Final = (11.0, 5.5)
_KINDS: Final = (".png", ".svg", ".pdf")


def checked_plot_path(path: Path | None) -> Path | None:
    """The file of `--plot`; see `checked_output`."""
    return checked_output("--plot", path, _KINDS)


def plot_curves(done: Evaluation, path: Path) -> None:
    """Draw the learning curves of the models that answered every question. Raises as `save_figure`."""
    save_figure(path, _INCHES, lambda figure: _draw(figure, done, done.judgements[0]))


def save_figure(path: Path, inches: tuple[float, float], draw: Callable[[Any], None]) -> None:
    """Write what `draw` draws.

    Raises:
        InvalidInput: the file cannot be written.
    """
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "freshet"}):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise InvalidInput(f"--plot {path} cannot be written: {error.strerror or error}") from error


def _draw(figure: Any, done: Evaluation, main: Judgement) -> None:
    axes, curve = figure.subplots(), main.curve
    warm_up = warm_up_events(done.events)
    axes.axvspan(0, warm_up, color="#eeeeee", zorder=0)
    axes.text(
        warm_up / 2,
        0.985,
        "warm-up\n(not counted)",
        ha="center",
        va="top",
        color="#666666",
        transform=axes.get_xaxis_transform(),
        bbox=_PALE,
        zorder=6,
    )
    for m in _best_first(main):
        axes.plot(curve.events, curve.recall[:, m], label=_label(main, m), **_style(main.names, m))
    axes.set(xlim=(0, done.events), ylim=(0, None))
    axes.set_xlabel("events learnt so far")
    axes.set_ylabel(f"Recall@10, mean of the last {curve.window:,} questions")
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(title="model, mean after the warm-up", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _add_dates(axes, curve)
    title = f"{done.stream.name}: each event predicted before it is learnt (mode {done.mode})"
    axes.set_title(title, loc="left", fontweight="bold", pad=10)


def _best_first(main: Judgement) -> list[int]:
    order = main.metrics["recall@10"] if main.metrics else np.zeros(len(main.names))
    return [int(m) for m in np.argsort(-order, kind="stable")]


def _label(main: Judgement, m: int) -> str:
    return f"{main.names[m]}  {main.metrics['recall@10'][m]:.3f}" if main.metrics else main.names[m]


def _style(names: tuple[str, ...], m: int) -> dict[str, Any]:
    if names[m] == "blend":
        return {"color": _BLEND, "linewidth": 2.4, "zorder": 5}
    if names[m] == "blend_linear":
        return {"color": _BLEND, "linestyle": _DASHES[2], "linewidth": 1.8, "zorder": 4}
    dashes = _DASHES[m // len(_COLOURS) % len(_DASHES)]
    return {"color": _COLOURS[m % len(_COLOURS)], "linestyle": dashes, "linewidth": 1.4}


def _add_dates(axes: Any, curve: Curve) -> None:
    """When it was, above the picture: event time does not run evenly with events."""
    if len(curve.events) < 2:
        return
    dates = axes.secondary_xaxis("top")
    ticks = np.linspace(curve.events[0], curve.events[-1], 6)
    times = np.interp(ticks, curve.events, curve.times)
    dates.set_xticks(ticks, [_date(time, times[-1] - times[0]) for time in times], color="#666666")
    dates.tick_params(length=3, color="#999999")
    dates.spines["top"].set_visible(False)


def _date(milliseconds: float, span_ms: float) -> str:
    pattern = "%Y-%m-%d" if span_ms > 10 * 86_400_000 else "%m-%d %H:%M"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime(pattern)
