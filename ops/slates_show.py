"""The result of `freshet evaluate slates` as tables and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from batch.slates.features import GROUPS
from batch.slates.selection import Selection
from ops.slates import BASELINE, Judged, SlatesResult
from ops.terminal import print_table, say
from schemas.errors import InvalidInput

_SHOWN: Final = 20
_INCHES: Final = (11.0, 5.5)
_COLOURS: Final = dict(zip(GROUPS, ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999"), strict=True))


def print_slates(done: SlatesResult) -> None:
    """Tables on stdout: the rankers, worst first, and which features matter if that was asked."""
    split, slates = done.contest.split, done.contest.slates
    clicked = int(slates.judged()[split.test].sum())
    print(
        f"{done.dataset}: {len(split.train):,} slates to learn from, {len(split.test):,} to judge by (from {split.boundary}), "
        f"{clicked:,} of them clicked; seed {done.contest.seed}"
    )
    rising = sorted(done.rankers.items(), key=lambda ranker: float(ranker[1].ndcg.mean[0]))
    columns = ("ranker", "NDCG@10", "95 %", "MRR", f"over {BASELINE}", "validation", "length", "seconds")
    print_table(columns, [_row(name, one) for name, one in rising])
    print(f"best on the validation: {done.best}, NDCG@10 {float(done.rankers[done.best].ndcg.mean[0]):.4f} on the test")
    if done.selection is not None:
        _print_selection(done.selection)


def _row(name: str, one: Judged) -> tuple[object, ...]:
    mean, low, high = (float(bound[0]) for bound in one.ndcg)
    gain = " ".join(f"{float(bound[0]):+.4f}" for bound in one.gain[:1]) + f" [{one.gain.low[0]:+.4f}, {one.gain.high[0]:+.4f}]"
    figures = (f"{mean:.4f}", f"{low:.4f} to {high:.4f}", f"{one.mrr:.4f}", gain, f"{one.validation:.4f}")
    return (name, *figures, one.length, f"{one.seconds:.1f}")


def _print_selection(found: Selection) -> None:
    print(f"\nthe linear ranker on the validation with all features: NDCG@10 {found.whole:.4f}")
    rows = [(group.group, f"{group.without:.4f}", f"{group.alone:.4f}") for group in found.groups]
    print_table(("group", "without it", "alone"), rows)
    strongest = [(one.name, one.group, f"{one.drop:+.4f}") for one in found.importances[:_SHOWN]]
    print_table(("feature", "group", "lost when shuffled"), strongest)


def plot_selection(found: Selection, path: Path) -> None:
    """Draw what each group and each of the strongest features is worth.

    Raises:
        InvalidInput: the file cannot be written.
    """
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "freshet"}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
        _draw_groups(left, found)
        _draw_features(right, found)
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise InvalidInput(f"--plot {path} cannot be written: {error.strerror or error}") from error
    say(f"features: {path}")


def _draw_groups(axes: Any, found: Selection) -> None:
    names = [group.group for group in found.groups][::-1]
    values = [found.whole - group.without for group in found.groups][::-1]
    axes.barh(names, values, color=[_COLOURS[name] for name in names])
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("NDCG@10 lost without the group")
    axes.set_title("Groups", loc="left", fontweight="bold")


def _draw_features(axes: Any, found: Selection) -> None:
    strongest = found.importances[:_SHOWN][::-1]
    axes.barh([one.name for one in strongest], [one.drop for one in strongest], color=[_COLOURS[one.group] for one in strongest])
    axes.set_xlabel("NDCG@10 lost when the feature is shuffled")
    axes.set_title("Features", loc="left", fontweight="bold")
